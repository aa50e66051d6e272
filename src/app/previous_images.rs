//! What routes need of a document before its change, compared with what its source sends.

use std::fmt;

use crate::config::Path;
use crate::cosmos::PreviousImages;
use crate::route::ImageNeeds;

/// What follows for the changes of one route from the previous images that its source sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageNotice {
    pub pipeline: String,
    pub sink: String,
    /// The fields that are needed: `/city, /status`, or `any field`.
    pub fields: String,
    /// True if the sink gets events.
    pub events: bool,
    pub effect: ImageEffect,
}

/// What becomes of a delete, or of the copy before a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageEffect {
    /// Deletes become dead letters.
    DeletesRejected,
    /// A changed document leaves its old copy behind.
    OldCopiesStay,
    /// The sink looks for copies with queries.
    Searched,
}

impl ImageNotice {
    /// True if something does not arrive as it should.
    pub fn is_warning(&self) -> bool {
        self.effect != ImageEffect::Searched
    }
}

impl fmt::Display for ImageNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pipeline, sink, fields, events, effect } = self;
        write!(f, "pipeline `{pipeline}`, sink `{sink}`: ")?;
        let policy = "add the fields to previousImageRetentionPolicy of the source container";
        match effect {
            ImageEffect::DeletesRejected if *events => write!(
                f,
                "deletes become dead letters, because they need {fields}, and the source container \
                 sends no previous images of deletes with it. To have them published, {policy}"
            ),
            ImageEffect::OldCopiesStay if *events => write!(
                f,
                "if {fields} of a document changes, no delete is published for its old key, because the \
                 source container sends no previous images of replacements with it. To have one, {policy}"
            ),
            ImageEffect::DeletesRejected => write!(
                f,
                "deletes become dead letters, because they need {fields}, and the source container \
                 sends no previous images of deletes with it. Set source_field of the sink, or {policy}"
            ),
            ImageEffect::OldCopiesStay => write!(
                f,
                "if {fields} of a document changes, its old copy stays, because the source container \
                 sends no previous images of replacements with it. Set source_field of the sink and moves \
                 of the route, or {policy}"
            ),
            ImageEffect::Searched => write!(
                f,
                "copies are looked for where previous images lack {fields}: about 5 RU for each \
                 physical partition of the target and write, unless the last write of the document is \
                 remembered"
            ),
        }
    }
}

/// The notices for the routes of a pipeline in all-versions-and-deletes mode; `sinks` has their names.
pub(super) fn image_notices(
    pipeline: &str,
    sinks: &[&str],
    needs: &[ImageNeeds],
    images: &PreviousImages,
) -> Vec<ImageNotice> {
    let mut notices = Vec::new();
    for need in needs.iter().filter(|need| need.reads_more()) {
        // Whole images are enough for jq; a sink that finds copies does not rely on it.
        let holds = if need.any_field {
            images.hold_everything() && !need.holds.finds_copies()
        } else {
            need.fields.iter().all(|field| images.hold(field))
        };
        let (deletes, replaces) = (images.deletes && holds, images.replaces && holds);
        let notice = |effect| ImageNotice {
            pipeline: pipeline.to_owned(),
            sink: sinks.get(need.sink).copied().unwrap_or_default().to_owned(),
            fields: shown(need),
            events: need.holds.is_events(),
            effect,
        };
        let is_searched =
            need.holds.finds_copies() && (!deletes || need.holds.moves() && !replaces);
        notices.extend(is_searched.then(|| notice(ImageEffect::Searched)));
        let is_rejected = !deletes && !need.holds.finds_copies();
        notices.extend(is_rejected.then(|| notice(ImageEffect::DeletesRejected)));
        let stays = !replaces && !need.holds.moves();
        notices.extend(stays.then(|| notice(ImageEffect::OldCopiesStay)));
    }
    notices
}

fn shown(need: &ImageNeeds) -> String {
    if need.any_field {
        return "any field".to_owned();
    }
    let fields: Vec<_> = need.fields.iter().map(Path::to_string).collect();
    fields.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::ImageEffect::{self, DeletesRejected, OldCopiesStay, Searched};
    use super::image_notices;
    use crate::config::Path;
    use crate::cosmos::PreviousImages;
    use crate::route::{Holds, ImageNeeds};

    #[test]
    fn a_notice_says_what_the_source_does_not_send() {
        let images = |mode: u64, paths: &[&str]| {
            PreviousImages::read(&json!({"previousImageRetentionPolicy": {"supportedFeatures":
                {"allVersionsAndDeletes": {"mode": mode, "includedPaths": paths}}}}))
        };
        let needs = |fields: &[&str], any_field, finds_copies, moves| ImageNeeds {
            sink: 0,
            fields: fields.iter().map(|field| Path::parse(field).unwrap()).collect(),
            any_field,
            holds: if finds_copies { Holds::Recorded { moves } } else { Holds::Documents },
        };
        let city = || needs(&["/city"], false, false, false);
        let jq = || needs(&[], true, false, false);
        let cases: [(ImageNeeds, PreviousImages, &[ImageEffect]); 12] = [
            (needs(&[], false, false, false), images(0, &[]), &[]),
            (city(), images(0, &[]), &[DeletesRejected, OldCopiesStay]),
            (city(), images(2, &[]), &[OldCopiesStay]),
            (city(), images(1, &["/city"]), &[DeletesRejected]),
            (city(), images(3, &["/city"]), &[]),
            (city(), images(3, &["/other"]), &[DeletesRejected, OldCopiesStay]),
            (needs(&["/city"], false, true, false), images(0, &[]), &[Searched, OldCopiesStay]),
            (needs(&["/city"], false, true, true), images(2, &[]), &[Searched]),
            (needs(&["/city"], false, true, true), images(3, &[]), &[]),
            (jq(), images(3, &[]), &[]),
            (needs(&[], true, true, true), images(3, &[]), &[Searched]),
            (jq(), images(3, &["/city"]), &[DeletesRejected, OldCopiesStay]),
        ];
        for (needs, images, expected) in cases {
            let notices = image_notices("p", &["s"], std::slice::from_ref(&needs), &images);
            let effects: Vec<_> = notices.iter().map(|notice| notice.effect).collect();
            assert_eq!(effects, expected, "{needs:?} {images:?}");
        }
        let notices = image_notices("p", &["s"], &[city()], &images(0, &[]));
        assert_eq!(
            notices[0].to_string(),
            "pipeline `p`, sink `s`: deletes become dead letters, because they need /city, and the \
             source container sends no previous images of deletes with it. Set source_field of the \
             sink, or add the fields to previousImageRetentionPolicy of the source container"
        );
        // A sink of events has no such field.
        let events = ImageNeeds { holds: Holds::Events, ..city() };
        let notices = image_notices("p", &["s"], &[events], &images(0, &[]));
        let text = notices.iter().map(ToString::to_string).collect::<Vec<_>>().concat();
        assert!(!text.contains("source_field") && text.contains("published"), "{text}");
    }
}
