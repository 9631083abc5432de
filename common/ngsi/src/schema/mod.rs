//! JSON schemas of the bodies of NGSI-10, NGSI-9, NGSIv2 and NGSI-LD, for OpenAPI documents.
//!
//! They are written by hand, as the decoders are, and say what a client has to know: the members and their forms. Decoders
//! take more than that (other spellings, texts for numbers). What has a type of its own is described at that type;
//! documents of NGSIv2 and NGSI-LD, which are decoded to entities at once, have names here.

pub mod ld;
pub mod v1;
pub mod v2;

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

/// Describes a type: its name in the document, and its schema as JSON. With `struct` the type is made here.
macro_rules! schema {
    ($(#[$doc:meta])* struct $type:ident, $name:literal, |$generator:pat_param| $json:tt) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $type;
        schema!($type, $name, |$generator| $json);
    };
    ($type:ty, $name:literal, |$generator:pat_param| $json:tt) => {
        impl ::schemars::JsonSchema for $type {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                ::std::borrow::Cow::Borrowed($name)
            }
            fn json_schema($generator: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                ::schemars::json_schema!($json)
            }
        }
    };
}
use schema;

fn list<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    json!({ "type": "array", "items": generator.subschema_for::<T>() })
}

fn texts() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

#[cfg(test)]
mod tests {
    use schemars::generate::SchemaSettings;

    use super::*;
    use crate::v1::UpdateContextRequest;

    /// Every `$ref` in a schema and what it refers to.
    fn refs(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| refs(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| refs(item, found)),
            _ => {}
        }
    }

    #[test]
    fn schemas_refer_to_what_is_defined() {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        generator.subschema_for::<UpdateContextRequest>();
        generator.subschema_for::<crate::v1::availability::NotifyContextAvailabilityRequest>();
        generator.subschema_for::<v2::Subscription>();
        generator.subschema_for::<ld::BatchResult>();
        let definitions = Value::Object(generator.take_definitions(true));
        let mut found = Vec::new();
        refs(&definitions, &mut found);
        assert!(found.len() > 5);
        for reference in found {
            let name = reference.strip_prefix("#/$defs/").unwrap();
            assert!(definitions.get(name).is_some(), "{reference}");
        }
        assert_eq!(definitions["UpdateContextRequest"]["properties"]["contextElements"]["items"]["$ref"], "#/$defs/ContextElement");
    }
}
