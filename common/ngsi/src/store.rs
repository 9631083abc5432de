//! The form in which entities are stored: JSON with one-letter member names and without what is absent.
//!
//! An update writes its whole entity, so this is written by hand; serde reads it, skips members that it does not know,
//! and writes the same text where speed does not matter.

use crate::writer::JsonWriter;
use crate::{Attribute, DecodeError, Entity, object};

impl Entity {
    /// Appends the stored form.
    pub fn to_store(&self, out: &mut Vec<u8>) {
        let mut w = JsonWriter::new(out);
        w.begin_object();
        w.string_member("i", &self.id);
        if !self.types.is_empty() {
            w.key("t");
            w.begin_array();
            self.types.iter().for_each(|name| w.string(name.as_str()));
            w.end_array();
        }
        write_attributes(&mut w, &self.attributes);
        if !self.scopes.is_empty() {
            w.key("s");
            w.begin_array();
            self.scopes.iter().for_each(|scope| w.string(scope));
            w.end_array();
        }
        w.key("c");
        w.integer(self.created_at.0);
        w.key("m");
        w.integer(self.modified_at.0);
        w.end_object();
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// If `bytes` is not what [`to_store`](Self::to_store) writes.
    pub fn from_store(bytes: &[u8]) -> Result<Self, DecodeError> {
        object::decode(bytes)
    }
}

fn write_attributes(w: &mut JsonWriter<'_>, attributes: &[Attribute]) {
    if attributes.is_empty() {
        return;
    }
    w.key("a");
    w.begin_array();
    for attribute in attributes {
        write_attribute(w, attribute);
    }
    w.end_array();
}

fn write_attribute(w: &mut JsonWriter<'_>, attribute: &Attribute) {
    w.begin_object();
    w.string_member("n", attribute.name.as_str());
    if !attribute.kind.is_property() {
        w.string_member("k", attribute.kind.as_str());
    }
    if attribute.domain {
        w.raw_member("d", "true");
    }
    w.raw_member("v", attribute.value.as_text());
    if let Some(value_type) = &attribute.value_type {
        w.string_member("y", value_type);
    }
    w.key("c");
    w.integer(attribute.created_at.0);
    w.key("m");
    w.integer(attribute.modified_at.0);
    if let Some(detail) = &attribute.detail {
        w.key("x");
        w.begin_object();
        if let Some(dataset_id) = &detail.dataset_id {
            w.string_member("i", dataset_id);
        }
        if let Some(observed_at) = detail.observed_at {
            w.key("o");
            w.integer(observed_at.0);
        }
        if let Some(unit_code) = &detail.unit_code {
            w.string_member("u", unit_code);
        }
        if let Some(object_type) = &detail.object_type {
            w.string_member("t", object_type.as_str());
        }
        write_attributes(w, &detail.attributes);
        w.end_object();
    }
    w.end_object();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    proptest! {
        #[test]
        fn a_stored_entity_reads_back(entity in testing::entity()) {
            let mut bytes = Vec::new();
            entity.to_store(&mut bytes);
            prop_assert_eq!(Entity::from_store(&bytes).unwrap(), entity);
        }

        #[test]
        fn serde_writes_the_same_text(entity in testing::entity()) {
            let mut bytes = Vec::new();
            entity.to_store(&mut bytes);
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), serde_json::to_string(&entity).unwrap());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Entity::from_store(&bytes);
        }
    }
}
