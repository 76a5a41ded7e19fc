//! When two BSON values are equal, and filters made of such equalities.
//!
//! MongoDB compares numbers by value whatever their type. One canonical form of a value's bytes serves both
//! the filters and the index of `_id`, so the two cannot disagree.

use bson::raw::{RawDocument, cstr};
use bson::{Bson, Document, RawBson, RawBsonRef, RawDocumentBuf};

use crate::fault::Fault;

/// Bytes that are the same for equal values only. Decimal128 equals only itself here; the other number types
/// equal each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Canonical(Vec<u8>);

impl Canonical {
    /// The form of one value, or None where the BSON in it is malformed.
    pub(crate) fn of(value: RawBsonRef<'_>) -> Option<Self> {
        let mut bytes = Vec::new();
        write(value, &mut bytes)?;
        Some(Self(bytes))
    }
}

fn write(value: RawBsonRef<'_>, out: &mut Vec<u8>) -> Option<()> {
    match value {
        RawBsonRef::Int32(number) => write_integer(number.into(), out),
        RawBsonRef::Int64(number) => write_integer(number, out),
        RawBsonRef::Double(number) => write_double(number, out),
        RawBsonRef::Document(document) => {
            out.push(b'{');
            for element in document {
                let (key, value) = element.ok()?;
                out.extend_from_slice(key.as_str().as_bytes());
                out.push(0);
                write(value, out)?;
            }
            out.push(b'}');
        }
        RawBsonRef::Array(array) => {
            out.push(b'[');
            for value in array {
                write(value.ok()?, out)?;
            }
            out.push(b']');
        }
        other => {
            // A document of one nameless element: its type, its bytes and their length.
            let mut single = RawDocumentBuf::new();
            single.append(cstr!(""), other);
            out.push(b'=');
            out.extend_from_slice(single.as_bytes());
        }
    }
    Some(())
}

fn write_integer(number: i64, out: &mut Vec<u8>) {
    out.push(b'i');
    out.extend(number.to_le_bytes());
}

fn write_double(number: f64, out: &mut Vec<u8>) {
    const I64_RANGE: std::ops::Range<f64> = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;
    if number.fract() == 0.0 && I64_RANGE.contains(&number) {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number in the range of i64")]
        let whole = number as i64;
        return write_integer(whole, out);
    }
    // All NaN are equal in MongoDB.
    let bits = if number.is_nan() { f64::NAN.to_bits() } else { number.to_bits() };
    out.push(b'd');
    out.extend(bits.to_le_bytes());
}

/// Fields and the values that they must have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    id: Option<Canonical>,
    fields: Vec<(String, Canonical)>,
}

impl Filter {
    /// Understands `{field: value}` and `{field: {$eq: value}}` for top-level fields.
    pub(crate) fn parse(filter: &Document) -> Result<Self, Fault> {
        let mut parsed = Self::default();
        for (field, condition) in filter {
            if field.starts_with('$') || field.contains('.') {
                return Err(unsupported(field));
            }
            let value = match condition {
                Bson::RegularExpression(_) => return Err(unsupported("regular expressions")),
                Bson::Document(inner) => match inner.iter().next() {
                    Some((operator, operand)) if operator == "$eq" && inner.len() == 1 => operand,
                    Some((operator, _)) if operator.starts_with('$') => return Err(unsupported(operator)),
                    _ => condition,
                },
                value => value,
            };
            let raw =
                RawBson::try_from(value.clone()).map_err(|error| Fault::bad_value(error.to_string()))?;
            let value = Canonical::of(raw.as_raw_bson_ref())
                .ok_or_else(|| Fault::bad_value(format!("the value of {field} is malformed")))?;
            if field == "_id" {
                parsed.id = Some(value);
            } else {
                parsed.fields.push((field.clone(), value));
            }
        }
        Ok(parsed)
    }

    /// The `_id` that matching documents have; the index finds the one that can match.
    pub(crate) fn id(&self) -> Option<&Canonical> {
        self.id.as_ref()
    }

    /// Whether the other fields match. As in MongoDB, an array also matches by each of its items, and a
    /// missing field equals null.
    pub(crate) fn matches(&self, document: &RawDocument) -> bool {
        self.fields.iter().all(|(field, wanted)| {
            let value = document.get(field).ok().flatten().unwrap_or(RawBsonRef::Null);
            if Canonical::of(value).as_ref() == Some(wanted) {
                return true;
            }
            let RawBsonRef::Array(array) = value else { return false };
            array.into_iter().flatten().any(|item| Canonical::of(item).as_ref() == Some(wanted))
        })
    }
}

fn unsupported(what: &str) -> Fault {
    Fault::not_implemented(format!("{what}: this database filters only by the equality of top-level fields"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::oid::ObjectId;
    use bson::{doc, rawdoc};

    #[test]
    fn equality() {
        let id = ObjectId::new();
        let cases: [(Bson, Bson, bool); 14] = [
            (Bson::Int32(1), Bson::Int64(1), true),
            (Bson::Int32(1), Bson::Double(1.0), true),
            (Bson::Double(0.0), Bson::Double(-0.0), true),
            (Bson::Double(f64::NAN), Bson::Double(-f64::NAN), true),
            (Bson::Double(1.5), Bson::Int32(1), false),
            (Bson::Double(9_223_372_036_854_775_808.0), Bson::Int64(i64::MAX), false),
            (Bson::Int32(1), Bson::String("1".into()), false),
            (Bson::Boolean(true), Bson::Int32(1), false),
            (Bson::ObjectId(id), Bson::ObjectId(id), true),
            (Bson::ObjectId(id), Bson::String(id.to_hex()), false),
            (doc! { "a": 1 }.into(), doc! { "a": 1_i64 }.into(), true),
            (doc! { "a": 1, "b": 2 }.into(), doc! { "b": 2, "a": 1 }.into(), false),
            (Bson::Array(vec![1.into()]), Bson::Array(vec![1.0.into()]), true),
            (Bson::Array(vec![]), doc! {}.into(), false),
        ];
        let canonical =
            |value: Bson| Canonical::of(RawBson::try_from(value).unwrap().as_raw_bson_ref()).unwrap();
        for (left, right, equal) in cases {
            assert_eq!(canonical(left.clone()) == canonical(right.clone()), equal, "{left:?} == {right:?}");
        }
    }

    #[test]
    fn filters() {
        let film = rawdoc! { "title": "Alien", "year": 1979, "tags": ["space", "cat"] };
        let cases = [
            (doc! {}, true),
            (doc! { "year": 1979.0 }, true),
            (doc! { "year": { "$eq": 1979 } }, true),
            (doc! { "year": 1979, "title": "Aliens" }, false),
            (doc! { "tags": "cat" }, true),
            (doc! { "tags": "dog" }, false),
            (doc! { "tags": ["space", "cat"] }, true),
            (doc! { "sequel": null }, true),
            (doc! { "title": null }, false),
        ];
        for (filter, expected) in cases {
            assert_eq!(Filter::parse(&filter).unwrap().matches(&film), expected, "{filter}");
        }
        for unsupported in [
            doc! { "$or": [{}] },
            doc! { "a.b": 1 },
            doc! { "a": { "$gt": 1 } },
            doc! { "a": { "$eq": 1, "$gt": 0 } },
        ] {
            assert_eq!(Filter::parse(&unsupported).unwrap_err().code, 238, "{unsupported}");
        }
    }
}
