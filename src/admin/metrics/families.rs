//! Writes families of metrics. A family has a name, a help text and rows; a row has labels and a value.

use std::fmt::Error;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder,
    NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use crate::model::Label;

/// Labels of one row: names and values.
pub(super) type Labels<'l, const N: usize> = [(&'static str, &'l str); N];

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;

/// Writes one family after the other. The encoder appends `_total` to the names of counters.
pub(super) struct Families<'e>(pub(super) DescriptorEncoder<'e>);

impl Families<'_> {
    pub(super) fn counter<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, V)>,
    ) -> Result<(), Error> {
        self.family((name, help, MetricType::Counter), rows, |encoder, value| {
            encoder.encode_counter(value, NO_EXEMPLAR)
        })
    }

    pub(super) fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (L, V)>,
    ) -> Result<(), Error> {
        self.family((name, help, MetricType::Gauge), rows, |encoder, value| {
            encoder.encode_gauge(value)
        })
    }

    pub(super) fn family<L: EncodeLabelSet, V>(
        &mut self,
        (name, help, kind): (&str, &str, MetricType),
        rows: impl IntoIterator<Item = (L, V)>,
        encode: impl Fn(&mut MetricEncoder<'_>, &V) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in rows {
            encode(&mut family.encode_family(&labels)?, &value)?;
        }
        Ok(())
    }

    /// A counter of the whole process, without labels.
    pub(super) fn process_counter(
        &mut self,
        name: &str,
        help: &str,
        value: &impl EncodeCounterValue,
    ) -> Result<(), Error> {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        encoder.encode_counter(value, NO_EXEMPLAR)
    }

    /// A gauge of the whole process, without labels.
    pub(super) fn process_gauge(
        &mut self,
        name: &str,
        help: &str,
        value: &impl EncodeGaugeValue,
    ) -> Result<(), Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(value)
    }
}

/// One row for each item.
pub(super) fn rows<'i, T, L, V>(
    items: &'i [T],
    labels: impl Fn(&'i T) -> L,
    value: impl Fn(&'i T) -> V,
) -> impl Iterator<Item = (L, V)> {
    items.iter().map(move |item| (labels(item), value(item)))
}

/// One row for each item and each value of the label `name`.
pub(super) fn rows_by<'i, T, L, B: Label, V>(
    items: &'i [T],
    labels: impl Fn(&'i T) -> L + Copy,
    name: &'static str,
    value: impl Fn(&'i T, B) -> V + Copy,
) -> impl Iterator<Item = ((L, Labels<'static, 1>), V)> {
    items.iter().flat_map(move |item| {
        let row = move |by: &B| ((labels(item), [(name, by.name())]), value(item, *by));
        B::ALL.iter().map(row)
    })
}
