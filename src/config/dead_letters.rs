//! `[pipelines.NAME.dead_letters]`.

use std::fmt;

use cosmos_bridge_options::{Form, Kind, integer, kind, number_first, options, quantity};

options! {
    /// How many changes may be kept as dead letters before the pipeline is parked.
    pub struct DeadLetters {
        /// Most dead letters of one run, for all sinks of the pipeline: a share of the changes read,
        /// "10%"; a number, 1000; or "unlimited". With more, the pipeline is parked: nothing is lost,
        /// and no position moves past a change that is not kept.
        // A few bad documents pass; a wrong field name, which concerns all, is stopped within seconds.
        limit: LetterLimit = "10%", limit();
        /// A share is of at least this number of changes: of the first changes of a run, a few are many.
        of_at_least: u32 = 1000, integer(1..=1_000_000_000);
    }
}

/// How many dead letters a run may store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterLimit {
    Unlimited,
    Count(u32),
    /// Of the changes read.
    Share(Share),
}

/// A share of up to 100 %, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 100 percent"
    )]
    pub fn percent(percent: f64) -> Self {
        Self((percent.clamp(0.0, 100.0) * 10_000.0).round() as u32)
    }

    /// From 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl fmt::Display for LetterLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(share) => write!(f, "{}%", f64::from(share.0) / 10_000.0),
        }
    }
}

fn limit() -> impl Kind<Output = LetterLimit> {
    const HINT: &str = "Write a share of the changes read \"10%\", a number of dead letters 1000, or \"unlimited\".";
    const PATTERN: &str = "^(unlimited|[0-9]+(\\.[0-9]+)? *%)$";
    let count = || integer::<u32>(0..=1_000_000_000);
    let words = "a share \"10%\", or \"unlimited\"";
    kind(Form::Either(vec![Form::pattern(words, PATTERN), count().form()]), move |value| {
        if value.node().is_integer() {
            return count().read(value).map(LetterLimit::Count);
        }
        let limit = quantity(value, "a limit", HINT, read_limit)?;
        let is_too_large = matches!(limit, Read::Percent(percent) if percent > 100.0);
        if is_too_large {
            value.problem("the value is too large", "Write at most \"100%\", or \"unlimited\".");
            return None;
        }
        Some(match limit {
            Read::Unlimited => LetterLimit::Unlimited,
            Read::Percent(percent) => LetterLimit::Share(Share::percent(percent)),
        })
    })
}

#[derive(Debug, PartialEq)]
enum Read {
    Unlimited,
    Percent(f64),
}

fn read_limit(text: &str) -> Result<Read, String> {
    if text == "unlimited" {
        return Ok(Read::Unlimited);
    }
    number_first(text)?;
    let Some(number) = text.strip_suffix('%') else {
        return Err("unknown unit of a limit".to_owned());
    };
    match number.trim_end().parse::<f64>() {
        Ok(percent) if percent.is_finite() => Ok(Read::Percent(percent)),
        _ => Err("invalid share".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{LetterLimit, Read, Share, read_limit};

    #[test]
    fn a_limit_is_a_share_or_no_limit() {
        let table = [
            ("unlimited", Ok(Read::Unlimited)),
            ("10%", Ok(Read::Percent(10.0))),
            ("0.5 %", Ok(Read::Percent(0.5))),
            ("10", Err("the unit is missing")),
            ("10 letters", Err("unknown unit of a limit")),
            ("-1%", Err("negative value")),
            ("some", Err("the value does not begin with a number")),
            ("1.2.3%", Err("invalid share")),
        ];
        for (text, expected) in table {
            assert_eq!(read_limit(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_limit_is_shown_as_it_is_written() {
        let share = |percent| LetterLimit::Share(Share::percent(percent)).to_string();
        assert_eq!([share(10.0), share(0.5), share(33.3)], ["10%", "0.5%", "33.3%"]);
        assert_eq!(LetterLimit::Count(1000).to_string(), "1000");
    }
}
