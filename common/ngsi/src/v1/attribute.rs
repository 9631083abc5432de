//! One attribute or attribute metadata item: hand-written, because every sensor reading passes here.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use smol_str::SmolStr;

use crate::object::Key;
use crate::{Attribute, Detail, Json, Kind, Name, Timestamp};

/// The members that attributes, their metadata and domain metadata have in common, as they came.
#[derive(Default)]
pub(super) struct Item {
    pub(super) name: SmolStr,
    /// Empty when there was none, which the model keeps apart from an attribute that has no v1 type at all.
    pub(super) value_type: SmolStr,
    pub(super) value: Option<Json>,
    /// Raw GeoJSON coordinates, which upstream's NGSI-LD bridge sends in place of a value.
    pub(super) coordinates: Option<Json>,
    pub(super) metadata: Vec<Item>,
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;
        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = Item;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `name`, `type` and `value`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut item = Item::default();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    if key.is("name") {
                        item.name = map.next_value::<Option<_>>()?.unwrap_or_default();
                    } else if key.is("type") {
                        item.value_type = map.next_value::<Option<_>>()?.unwrap_or_default();
                    } else if key.is("value") {
                        item.value = map.next_value()?;
                    } else if key.is("metadata") || key.is("metadatas") {
                        item.metadata = map.next_value::<Option<_>>()?.unwrap_or_default();
                    } else if key.is("coordinates") {
                        item.coordinates = map.next_value()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(item)
            }
        }
        deserializer.deserialize_map(ItemVisitor)
    }
}

impl Item {
    /// The value, `null` if there is none.
    pub(super) fn json(&self) -> Json {
        self.value.clone().unwrap_or_default()
    }

    /// The attribute that is meant; a value that its type does not fit is noted in `mismatches`.
    pub(super) fn into_attribute(self, mismatches: &mut Vec<String>) -> Attribute {
        let value = self.json();
        if !fits(&self.value_type, &value) {
            mismatches.push(format!(
                "attribute `{}`: the value is not of the declared type `{}`; it is kept as sent",
                self.name, self.value_type
            ));
        }
        let kind = kind_of(&self.value_type, &value);
        let detail = (!self.metadata.is_empty()).then(|| Box::new(detail(self.metadata)));
        Attribute {
            name: Name::new(&self.name),
            kind,
            domain: false,
            value,
            value_type: Some(self.value_type),
            created_at: Timestamp::default(),
            modified_at: Timestamp::default(),
            detail,
        }
    }
}

fn detail(metadata: Vec<Item>) -> Detail {
    let mut detail = Detail::default();
    for item in metadata {
        let value = item.json();
        match (item.name.as_str(), item.value_type.as_str()) {
            ("unitCode", "string") if detail.unit_code.is_none() && value.as_str().is_some() => {
                detail.unit_code = value.as_str().map(SmolStr::new);
            }
            ("observedAt", "dateTime") if detail.observed_at.is_none() && value.as_timestamp().is_some() => {
                detail.observed_at = value.as_timestamp();
            }
            _ => {
                let mut attribute = Attribute::property(Name::new(&item.name), value, Timestamp::default());
                attribute.value_type = Some(item.value_type);
                if !item.metadata.is_empty() {
                    attribute.detail = Some(Box::new(self::detail(item.metadata)));
                }
                detail.attributes.push(attribute);
            }
        }
    }
    detail
}

/// The v1 spelling of each kind that is not a Property.
pub(super) fn type_of_kind(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Property | Kind::GeoProperty => return None,
        Kind::Relationship => "relationship",
        Kind::LanguageProperty => "languageProperty",
        Kind::JsonProperty => "jsonProperty",
        Kind::VocabProperty => "vocabProperty",
        Kind::ListProperty => "listProperty",
        Kind::ListRelationship => "listRelationship",
    })
}

/// The kind that a v1 type text stands for, if the value has the form of that kind.
pub(super) fn kind_of(value_type: &str, value: &Json) -> Kind {
    const KINDS: [Kind; 6] =
        [Kind::Relationship, Kind::LanguageProperty, Kind::JsonProperty, Kind::VocabProperty, Kind::ListProperty, Kind::ListRelationship];
    // All these names are longer than the usual ones, so the hot path ends here.
    if value_type.len() < "relationship".len() {
        return Kind::Property;
    }
    let found = KINDS.into_iter().find(|kind| type_of_kind(*kind).is_some_and(|name| name.eq_ignore_ascii_case(value_type)));
    found.filter(|kind| kind.allows(value)).unwrap_or_default()
}

/// Whether a value has the type that v1 clients declare. Types that the table does not name fit every value.
fn fits(value_type: &str, value: &Json) -> bool {
    match value_type {
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "float" => value.as_f64().is_some(),
        "boolean" => value.as_bool().is_some(),
        "string" => value.as_str().is_some(),
        "object" => value.is_object() || value.is_array(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_needs_a_fitting_value() {
        assert_eq!(kind_of("relationship", &Json::string("urn:a")), Kind::Relationship);
        assert_eq!(kind_of("Relationship", &Json::from(5.0)), Kind::Property);
        assert_eq!(kind_of("float", &Json::from(5.0)), Kind::Property);
    }

    #[test]
    fn a_fraction_is_no_integer() {
        assert!(fits("integer", &Json::parse("5").unwrap()));
        assert!(fits("integer", &Json::parse("5.0").unwrap()));
        assert!(!fits("integer", &Json::parse("3.7").unwrap()));
        assert!(!fits("integer", &Json::string("5")));
        assert!(fits("Number", &Json::string("5")));
    }
}
