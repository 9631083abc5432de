//! Domain metadata of entities, and how its places become GeoJSON and back.

use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::attribute::Item;
use crate::object::{decode_object, decode_str};
use crate::writer::JsonWriter;
use crate::{Attribute, DecodeError, Json, Kind, Name, Timestamp, geometry};

/// Decodes a `domainMetadata` or `contextMetadata` list into domain attributes.
///
/// # Errors
/// If `text` is not a list of metadata items.
pub fn decode_domain_metadata(text: &str) -> Result<Vec<Attribute>, DecodeError> {
    let items: Vec<Item> = decode_str(text)?;
    Ok(items.into_iter().map(|item| item.into_domain_metadata(&mut Vec::new())).collect())
}

impl Item {
    /// The domain attribute that is meant. A place that makes sense becomes GeoJSON; one that does not is kept as it
    /// was sent and noted in `mismatches`: it never becomes the point 0,0 (F 33).
    pub(super) fn into_domain_metadata(self, mismatches: &mut Vec<String>) -> Attribute {
        let place = self.place();
        if place.is_none() && is_place(&self.value_type) {
            mismatches.push(format!("domain metadata `{}`: the value is no valid {}; it is kept as sent", self.name, self.value_type));
        }
        let kind = if place.is_some() { Kind::GeoProperty } else { Kind::Property };
        Attribute {
            name: Name::new(&self.name),
            kind,
            domain: true,
            value: place.unwrap_or_else(|| self.json()),
            value_type: Some(self.value_type),
            created_at: Timestamp::default(),
            modified_at: Timestamp::default(),
            detail: None,
        }
    }

    /// The GeoJSON of the place, if the type says that it is one and the value is a valid one.
    fn place(&self) -> Option<Json> {
        if let Some(coordinates) = &self.coordinates {
            return geo_json(&format!(r#"{{"type":"{}","coordinates":{coordinates}}}"#, geometry::type_name(&self.value_type)?));
        }
        place(&self.value_type, self.value.as_ref()?)
    }
}

/// The GeoJSON of a place in v1's form, if `value_type` is that of a place and the value is a valid one.
pub(crate) fn place(value_type: &str, value: &Json) -> Option<Json> {
    let value = value.as_text();
    if value_type.eq_ignore_ascii_case("point") {
        serde_json::from_str::<Place>(value).ok()?.point("").or_else(|| geo_json(value))
    } else if value_type.eq_ignore_ascii_case("circle") {
        let circle: Place = serde_json::from_str(value).ok()?;
        let radius = number(circle.radius.as_ref()?).filter(|radius| *radius >= 0.0)?;
        circle.point(&format!(r#","radius":{}"#, text_of(circle.radius.as_ref()?, radius)))
    } else if value_type.eq_ignore_ascii_case("polygon") {
        serde_json::from_str::<Place>(value).ok()?.polygon().or_else(|| geo_json(value))
    } else if value_type.eq_ignore_ascii_case("geo:json") || geometry::type_name(value_type).is_some() {
        geo_json(value)
    } else {
        None
    }
}

fn is_place(value_type: &str) -> bool {
    ["point", "circle", "polygon", "geo:json"].iter().any(|name| name.eq_ignore_ascii_case(value_type))
}

fn geo_json(text: &str) -> Option<Json> {
    geometry::parse(text).ok()?;
    Json::parse(text).ok()
}

/// The members of v1's places; coordinates may be numbers or numbers in strings.
#[derive(Default)]
struct Place {
    latitude: Option<Json>,
    longitude: Option<Json>,
    radius: Option<Json>,
    vertices: Vec<Place>,
}

decode_object!(Place {
    "latitude" | "centerLatitude" => latitude,
    "longitude" | "centerLongitude" => longitude,
    "radius" => radius,
    "vertices" => vertices,
});

impl Place {
    fn position(&self) -> Option<String> {
        let (latitude, longitude) = (self.latitude.as_ref()?, self.longitude.as_ref()?);
        let (lat, lon) = (number(latitude)?, number(longitude)?);
        geometry::valid_position(lon, lat).then(|| format!("[{},{}]", text_of(longitude, lon), text_of(latitude, lat)))
    }

    fn point(&self, extra: &str) -> Option<Json> {
        Json::parse(&format!(r#"{{"type":"Point","coordinates":{}{extra}}}"#, self.position()?)).ok()
    }

    fn polygon(&self) -> Option<Json> {
        let mut ring = self.vertices.iter().map(Place::position).collect::<Option<Vec<_>>>()?;
        if ring.first()? != ring.last()? {
            ring.push(ring.first()?.clone());
        }
        (ring.len() > 3).then(|| Json::parse(&format!(r#"{{"type":"Polygon","coordinates":[[{}]]}}"#, ring.join(","))).ok())?
    }
}

fn number(json: &Json) -> Option<f64> {
    json.as_f64().or_else(|| json.as_str()?.trim().parse().ok()).filter(|number: &f64| number.is_finite())
}

/// The digits as they were sent, so that a place reads back unchanged.
fn text_of(json: &Json, number: f64) -> SmolStr {
    if json.as_f64().is_some() { SmolStr::new(json.as_text()) } else { smol_str::format_smolstr!("{number}") }
}

#[derive(serde::Deserialize)]
struct GeoJson<'a> {
    #[serde(borrow, rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    coordinates: &'a RawValue,
    #[serde(borrow, default)]
    radius: Option<&'a RawValue>,
}

/// Writes the `type` and `value` members of a GeoProperty in v1's own form where v1 has one, else as `geo:json`.
pub(crate) fn write_place(w: &mut JsonWriter<'_>, attribute: &Attribute) {
    let written = serde_json::from_str::<GeoJson<'_>>(attribute.value.as_text()).ok().and_then(|place| match place.kind {
        "Point" => write_point(w, attribute, &place),
        "Polygon" => write_polygon(w, attribute, &place),
        _ => None,
    });
    if written.is_none() {
        let own = attribute.value_type.as_deref().filter(|own| own.eq_ignore_ascii_case("geo:json") || geometry::type_name(own).is_some());
        w.string_member("type", own.unwrap_or("geo:json"));
        w.raw_member("value", attribute.value.as_text());
    }
}

/// The type as the client spelled it, if it means `name`.
fn spelled<'a>(attribute: &'a Attribute, name: &'a str) -> &'a str {
    attribute.value_type.as_deref().filter(|own| own.eq_ignore_ascii_case(name)).unwrap_or(name)
}

fn write_point(w: &mut JsonWriter<'_>, attribute: &Attribute, place: &GeoJson<'_>) -> Option<()> {
    let position: Vec<&RawValue> = serde_json::from_str(place.coordinates.get()).ok()?;
    let [longitude, latitude] = position.as_slice() else { return None };
    let members = match place.radius {
        Some(radius) => {
            w.string_member("type", spelled(attribute, "circle"));
            ["centerLatitude", "centerLongitude", radius.get()]
        }
        None => {
            w.string_member("type", spelled(attribute, "point"));
            ["latitude", "longitude", ""]
        }
    };
    w.key("value");
    w.begin_object();
    w.raw_member(members[0], latitude.get());
    w.raw_member(members[1], longitude.get());
    if !members[2].is_empty() {
        w.raw_member("radius", members[2]);
    }
    w.end_object();
    Some(())
}

fn write_polygon(w: &mut JsonWriter<'_>, attribute: &Attribute, place: &GeoJson<'_>) -> Option<()> {
    let [ring]: [Vec<Vec<&RawValue>>; 1] = serde_json::from_str(place.coordinates.get()).ok()?;
    let (_closing, vertices) = ring.split_last()?;
    if vertices.iter().any(|vertex| vertex.len() != 2) {
        return None;
    }
    w.string_member("type", spelled(attribute, "polygon"));
    w.key("value");
    w.begin_object();
    w.key("vertices");
    w.begin_array();
    for vertex in vertices {
        w.begin_object();
        w.raw_member("latitude", vertex[1].get());
        w.raw_member("longitude", vertex[0].get());
        w.end_object();
    }
    w.end_array();
    w.end_object();
    Some(())
}
