//! Keys as bytes whose order is the order of [`Key`]: collection and tenant end with a zero byte, which no part of a key
//! contains ([`Batch::check`](crate::Batch::check)); the id follows as it is.

use smol_str::SmolStr;

use crate::model::{Key, StoreError};

/// Appends the bytes of a key.
pub(super) fn encode(key: &Key, into: &mut Vec<u8>) {
    into.extend_from_slice(key.collection.as_bytes());
    into.push(0);
    into.extend_from_slice(key.tenant.as_bytes());
    into.push(0);
    into.extend_from_slice(key.id.as_bytes());
}

/// The bytes with which all keys of a collection, or of a tenant in it, begin.
pub(super) fn prefix(collection: &str, tenant: Option<&str>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(collection.len() + tenant.map_or(0, str::len) + 2);
    bytes.extend_from_slice(collection.as_bytes());
    bytes.push(0);
    if let Some(tenant) = tenant {
        bytes.extend_from_slice(tenant.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// The key that was encoded.
pub(super) fn decode(bytes: &[u8]) -> Result<Key, StoreError> {
    let damaged = || StoreError::Damaged("a key cannot be decoded".to_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
    let mut parts = text.splitn(3, '\0').map(SmolStr::new);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(collection), Some(tenant), Some(id)) => Ok(Key { collection, tenant, id }),
        _ => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> impl Strategy<Value = Key> {
        let part = "[ab\u{1}é]{0,4}";
        (part, part, part).prop_map(|(collection, tenant, id)| Key::new(collection, tenant, id))
    }

    fn bytes(key: &Key) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(key, &mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn a_key_survives_and_keeps_its_order(a in keys(), b in keys()) {
            prop_assert_eq!(&decode(&bytes(&a)).unwrap(), &a);
            prop_assert_eq!(bytes(&a).cmp(&bytes(&b)), a.cmp(&b));
            let same_tenant = a.collection == b.collection && a.tenant == b.tenant;
            prop_assert_eq!(bytes(&a).starts_with(&prefix(&b.collection, Some(&b.tenant))), same_tenant);
            prop_assert_eq!(bytes(&a).starts_with(&prefix(&b.collection, None)), a.collection == b.collection);
        }
    }
}
