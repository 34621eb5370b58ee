//! From GLib's values to the app's own.

use std::collections::BTreeMap;

use gtk::glib::{Variant, VariantClass};
use hasher_monitor_core::{Interfaces, Properties, Value};

/// Any value; what has no meaning for the app becomes `Other`.
pub fn value(variant: &Variant) -> Value {
    let natural = |number: Option<u64>| number.map_or(Value::Other, Value::Natural);
    let integer = |number: Option<i64>| number.map_or(Value::Other, Value::Integer);
    match variant.classify() {
        VariantClass::Boolean => variant.get().map_or(Value::Other, Value::Bool),
        VariantClass::Byte => natural(variant.get::<u8>().map(u64::from)),
        VariantClass::Uint16 => natural(variant.get::<u16>().map(u64::from)),
        VariantClass::Uint32 => natural(variant.get::<u32>().map(u64::from)),
        VariantClass::Uint64 => natural(variant.get()),
        VariantClass::Int16 => integer(variant.get::<i16>().map(i64::from)),
        VariantClass::Int32 => integer(variant.get::<i32>().map(i64::from)),
        VariantClass::Int64 => integer(variant.get()),
        VariantClass::Double => variant.get().map_or(Value::Other, Value::Real),
        VariantClass::String | VariantClass::ObjectPath | VariantClass::Signature => {
            let text = variant.str().unwrap_or_default();
            Value::Text(text.to_owned())
        }
        VariantClass::Variant => variant
            .as_variant()
            .map_or(Value::Other, |inner| value(&inner)),
        VariantClass::Tuple => Value::List(variant.iter().map(|part| value(&part)).collect()),
        VariantClass::Array if is_dictionary(variant) => {
            Value::Map(entries(variant).map(|(key, v)| (key, value(&v))).collect())
        }
        VariantClass::Array => Value::List(variant.iter().map(|part| value(&part)).collect()),
        _ => Value::Other,
    }
}

/// `a{sv}`; empty for anything else.
pub fn properties(variant: &Variant) -> Properties {
    match value(variant) {
        Value::Map(properties) => properties,
        _ => Properties::new(),
    }
}

/// `a{sa{sv}}`; empty for anything else.
pub fn interfaces(variant: &Variant) -> Interfaces {
    entries(variant)
        .map(|(name, all)| (name, properties(&all)))
        .collect()
}

/// `a{oa{sa{sv}}}`; empty for anything else.
pub fn objects(variant: &Variant) -> BTreeMap<String, Interfaces> {
    entries(variant)
        .map(|(path, all)| (path, interfaces(&all)))
        .collect()
}

fn is_dictionary(variant: &Variant) -> bool {
    variant.type_().is_array() && variant.type_().element().is_dict_entry()
}

/// The entries of a dictionary whose keys are text.
fn entries(variant: &Variant) -> impl Iterator<Item = (String, Variant)> {
    let is_dictionary = is_dictionary(variant);
    let parts: Vec<Variant> = if is_dictionary {
        variant.iter().collect()
    } else {
        Vec::new()
    };
    parts.into_iter().filter_map(|entry| {
        let key = entry.child_value(0).str()?.to_owned();
        Some((key, entry.child_value(1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Variant {
        Variant::parse(None, text).unwrap()
    }

    #[test]
    fn a_listing_of_objects_is_read_with_all_its_types() {
        let variant = parse(
            "{objectpath '/a/b': {'x.Device': {'Id': <'sim'>, 'Rate': <(1.5, 2.0)>, \
             'Chips': <[byte 0x10, 0x11]>, 'Pid': <int32 -4>, 'Hits': <uint64 7>, \
             'Counters': <{'a': uint64 1}>}}}",
        );
        let objects = objects(&variant);
        let device = &objects["/a/b"]["x.Device"];
        assert_eq!(device["Id"], Value::Text("sim".to_owned()));
        assert_eq!(
            device["Rate"],
            Value::List(vec![Value::Real(1.5), Value::Real(2.0)])
        );
        assert_eq!(
            device["Chips"],
            Value::List(vec![Value::Natural(16), Value::Natural(17)])
        );
        assert_eq!(device["Pid"], Value::Integer(-4));
        assert_eq!(device["Hits"], Value::Natural(7));
        let counters = BTreeMap::from([("a".to_owned(), Value::Natural(1))]);
        assert_eq!(device["Counters"], Value::Map(counters));
    }

    #[test]
    fn what_is_no_listing_reads_as_an_empty_one() {
        for text in ["'x'", "(1, 2)", "{1: 2}", "@a{oa{sa{sv}}} {}"] {
            assert!(objects(&parse(text)).is_empty(), "{text}");
        }
    }
}
