//! Where each field of a planned header comes from, and what other sources hold: what `info --facts` shows.

use super::fields::{Class, RejectedValue, row};
use crate::dump::Plan;
use crate::format::header_fields::{Field, FieldValue, HeaderWidth};
use crate::windows::{GuestHeader, Windows};

/// A field of the header with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldFact {
    /// Which field.
    pub field: &'static Field,
    /// What the dump's header holds.
    pub value: FieldValue,
    /// Where that was read, in words.
    pub source: String,
    /// What other sources say.
    pub rejected: Vec<RejectedValue>,
}

/// All fields of the planned header, by offset.
#[must_use]
pub fn field_facts(windows: &Windows, plan: &Plan) -> Vec<FieldFact> {
    let header = plan.header();
    let width = HeaderWidth::of(header);
    let fields = width.map(HeaderWidth::fields).unwrap_or_default();
    fields
        .iter()
        .map(|field| {
            let (source, mut rejected) = (row(field.id).origin)(windows, plan);
            let value = field.value(header);
            for other in &windows.headers {
                rejected.extend(weigh(other, field, &value));
            }
            FieldFact {
                field,
                source: match value {
                    FieldValue::NotSet => "unknown: left as Windows fills it".to_owned(),
                    _ => source,
                },
                value,
                rejected,
            }
        })
        .collect()
}

/// Why a header that was made in the guest does not decide this field; `None` where it agrees or is silent.
fn weigh(header: &GuestHeader, field: &Field, chosen: &FieldValue) -> Option<RejectedValue> {
    let own = header.width.field(field.id)?;
    let value = own.value(&header.bytes);
    if value == *chosen || matches!(value, FieldValue::NotSet | FieldValue::Missing) {
        return None;
    }
    let why = match (row(field.id).class, header.contradictions.first()) {
        (Class::File, _) => {
            "describes the body of another file; never taken from a header".to_owned()
        }
        (_, Some(contradiction)) => format!("the header is of another boot: {contradiction}"),
        (Class::Moment, None) => "as of when the header was made; memory is later".to_owned(),
        (Class::FrameDatabase, None) => {
            "the variable's address, or another value; both kinds are in use".to_owned()
        }
        (Class::System, None) => "memory says otherwise".to_owned(),
    };
    Some(RejectedValue {
        value,
        source: header.origin.to_string(),
        why,
    })
}
