//! NGSIv2's own forms of places (`geo:point` and its kin) and GeoJSON.

use serde_json::{Value, json};

use crate::writer::JsonWriter;
use crate::{Attribute, Json, geometry, v1};

/// The GeoJSON of a value whose type says that it is a place, or `None` if it is none.
pub(super) fn to_geo_json(value_type: &str, value: &Json) -> Option<Json> {
    let geo_json = match value_type {
        "geo:json" => value.clone(),
        "geo:point" => Json::from(&json!({"type": "Point", "coordinates": position(&value.as_str()?)?})),
        "geo:line" => Json::from(&json!({"type": "LineString", "coordinates": positions(value)?})),
        "geo:polygon" => Json::from(&json!({"type": "Polygon", "coordinates": [positions(value)?]})),
        "geo:box" => {
            let corners = positions(value)?;
            let [[a, b], [c, d]] = corners.as_slice() else { return None };
            let ring = [[a, b], [c, b], [c, d], [a, d], [a, b]];
            Json::from(&json!({"type": "Polygon", "coordinates": [ring]}))
        }
        // Upstream writes places of v1 through NGSIv2, and clients send them back.
        "point" | "circle" | "polygon" => v1::metadata::place(value_type, value)?,
        _ => return None,
    };
    geometry::parse(geo_json.as_text()).ok().map(|_| geo_json)
}

/// `"latitude, longitude"` as [longitude, latitude], with the digits that were sent.
fn position(text: &str) -> Option<[serde_json::Number; 2]> {
    let (latitude, longitude) = text.split_once(',')?;
    Some([longitude.trim().parse().ok()?, latitude.trim().parse().ok()?])
}

fn positions(value: &Json) -> Option<Vec<[serde_json::Number; 2]>> {
    let texts: Vec<String> = serde_json::from_str(value.as_text()).ok()?;
    texts.iter().map(|text| position(text)).collect()
}

/// Writes the `type` and `value` members of a GeoProperty.
pub(super) fn write(w: &mut JsonWriter<'_>, attribute: &Attribute) {
    match attribute.value_type.as_deref() {
        Some("point" | "circle" | "polygon") => v1::metadata::write_place(w, attribute),
        Some(own @ ("geo:point" | "geo:line" | "geo:polygon" | "geo:box")) if from_geo_json(own, &attribute.value).is_some() => {
            w.string_member("type", own);
            w.key("value");
            w.value(&from_geo_json(own, &attribute.value));
        }
        _ => {
            w.string_member("type", "geo:json");
            w.raw_member("value", attribute.value.as_text());
        }
    }
}

/// Writes the value alone.
pub(super) fn write_value(w: &mut JsonWriter<'_>, attribute: &Attribute) {
    match attribute.value_type.as_deref().and_then(|own| from_geo_json(own, &attribute.value)) {
        Some(value) => w.value(&value),
        None => w.raw(attribute.value.as_text()),
    }
}

fn from_geo_json(value_type: &str, value: &Json) -> Option<Value> {
    let tree = value.to_value();
    let coordinates = tree.get("coordinates")?;
    Some(match (value_type, tree.get("type")?.as_str()?) {
        ("geo:point", "Point") => text(coordinates)?.into(),
        ("geo:line", "LineString") => texts(coordinates)?.into(),
        ("geo:polygon", "Polygon") => texts(coordinates.as_array().filter(|rings| rings.len() == 1)?.first()?)?.into(),
        ("geo:box", "Polygon") => {
            let corners = texts(coordinates.as_array()?.first()?)?;
            vec![corners.first()?.clone(), corners.get(2)?.clone()].into()
        }
        _ => return None,
    })
}

fn text(position: &Value) -> Option<String> {
    match position.as_array()?.as_slice() {
        [longitude, latitude] => Some(format!("{latitude}, {longitude}")),
        _ => None,
    }
}

fn texts(positions: &Value) -> Option<Vec<String>> {
    positions.as_array()?.iter().map(text).collect()
}
