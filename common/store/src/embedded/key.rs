//! Keys as bytes whose order is the order of [`Key`]: collection and tenant end with `00 01`, and a zero byte inside
//! them is written `00 FF`; the id follows as it is.

use smol_str::SmolStr;

use crate::model::{Key, StoreError};

const END: [u8; 2] = [0x00, 0x01];
const ZERO: [u8; 2] = [0x00, 0xFF];

/// Appends the bytes of a key.
pub(super) fn encode(key: &Key, into: &mut Vec<u8>) {
    part(&key.collection, into);
    part(&key.tenant, into);
    into.extend_from_slice(key.id.as_bytes());
}

/// The bytes with which all keys of a collection, or of a tenant in it, begin.
pub(super) fn prefix(collection: &str, tenant: Option<&str>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(collection.len() + tenant.map_or(0, str::len) + 4);
    part(collection, &mut bytes);
    if let Some(tenant) = tenant {
        part(tenant, &mut bytes);
    }
    bytes
}

/// The key that was encoded.
pub(super) fn decode(bytes: &[u8]) -> Result<Key, StoreError> {
    let mut rest = bytes;
    let collection = take(&mut rest)?;
    let tenant = take(&mut rest)?;
    let id = std::str::from_utf8(rest).map_err(|_| damaged())?;
    Ok(Key { collection, tenant, id: SmolStr::new(id) })
}

fn part(text: &str, into: &mut Vec<u8>) {
    let mut pieces = text.as_bytes().split(|byte| *byte == 0);
    into.extend_from_slice(pieces.next().unwrap_or_default());
    for piece in pieces {
        into.extend_from_slice(&ZERO);
        into.extend_from_slice(piece);
    }
    into.extend_from_slice(&END);
}

fn take(rest: &mut &[u8]) -> Result<SmolStr, StoreError> {
    let mut unescaped: Vec<u8> = Vec::new();
    loop {
        let zero = rest.iter().position(|byte| *byte == 0).ok_or_else(damaged)?;
        let (before, after) = rest.split_at(zero);
        let mark = after.get(..2).ok_or_else(damaged)?;
        *rest = &after[2..];
        if mark == END && unescaped.is_empty() {
            return std::str::from_utf8(before).map(SmolStr::new).map_err(|_| damaged());
        }
        unescaped.extend_from_slice(before);
        if mark == END {
            return std::str::from_utf8(&unescaped).map(SmolStr::new).map_err(|_| damaged());
        }
        unescaped.push(0);
    }
}

fn damaged() -> StoreError {
    StoreError::Damaged("a key cannot be decoded".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> impl Strategy<Value = Key> {
        let part = "[ab\u{0}\u{1}é]{0,4}";
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
            prop_assert_eq!(bytes(&a).starts_with(&prefix(&b.collection, Some(&b.tenant))), a.collection == b.collection && a.tenant == b.tenant);
            prop_assert_eq!(bytes(&a).starts_with(&prefix(&b.collection, None)), a.collection == b.collection);
        }
    }
}
