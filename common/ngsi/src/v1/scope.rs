//! `restriction`: where entities must be, and what their metadata must say.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use smol_str::SmolStr;

use crate::object::decode_object;
use crate::query::StringQuery;
use crate::{Json, geometry};

/// The `restriction` of a query or subscription.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Restriction {
    /// `attributeExpression`; stored, never evaluated by any release of upstream.
    #[serde(rename = "attributeExpression", skip_serializing_if = "SmolStr::is_empty")]
    pub attribute_expression: SmolStr,
    /// Conditions that must all hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
    /// GeoJSON coordinates of an NGSI-LD geo query; the misspelt name is the wire's.
    #[serde(rename = "cordinates", skip_serializing_if = "Json::is_null")]
    pub coordinates: Json,
    /// GeoJSON type of an NGSI-LD geo query.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub geometry: SmolStr,
    /// The relation of an NGSI-LD geo query, as `near;maxDistance==1000`.
    #[serde(rename = "geoRel", skip_serializing_if = "SmolStr::is_empty")]
    pub geo_rel: SmolStr,
    /// `ld` for an NGSI-LD geo query.
    #[serde(rename = "restrictionType", skip_serializing_if = "SmolStr::is_empty")]
    pub restriction_type: SmolStr,
}

decode_object!(Restriction {
    "attributeExpression" => attribute_expression,
    "scopes" => scopes,
    "cordinates" | "coordinates" => coordinates,
    "geometry" => geometry,
    "geoRel" => geo_rel,
    "restrictionType" => restriction_type,
});

impl Restriction {
    /// Whether it restricts nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Restriction::default()
    }
}

/// One condition. Positions are in degrees, distances in metres.
#[derive(Clone, Debug, PartialEq)]
pub enum Scope {
    /// Within `radius` of the centre.
    Circle {
        /// `centerLatitude`
        latitude: f64,
        /// `centerLongitude`
        longitude: f64,
        /// Metres, not negative.
        radius: f64,
    },
    /// Within a polygon of at least three vertices (latitude, longitude), closed or not.
    Polygon(Vec<(f64, f64)>),
    /// A place that restricts nothing.
    Point {
        /// `latitude`
        latitude: f64,
        /// `longitude`
        longitude: f64,
    },
    /// Within a box, given by its corners (latitude, longitude).
    SimpleGeolocation {
        /// `nw_Corner`
        north_west: (f64, f64),
        /// `se_Corner`
        south_east: (f64, f64),
    },
    /// Only the `limit` entities that are nearest.
    Nearby {
        /// `latitude`
        latitude: f64,
        /// `longitude`
        longitude: f64,
        /// How many; 1 when the request does not say.
        limit: usize,
    },
    /// Metadata of the entity must have these values.
    StringQuery(StringQuery),
    /// `global`, `local` and others, which restrict nothing.
    Other {
        /// The type as it was sent.
        scope_type: SmolStr,
        /// The value as it was sent.
        value: Json,
    },
}

#[derive(Default)]
struct Wire {
    scope_type: SmolStr,
    value: Json,
}

decode_object!(Wire { "scopeType" => scope_type, "scopeValue" => value });

#[derive(Default)]
struct Value {
    latitude: Option<f64>,
    longitude: Option<f64>,
    radius: Option<f64>,
    limit: Option<f64>,
    vertices: Vec<Value>,
    north_west: SmolStr,
    south_east: SmolStr,
}

decode_object!(Value {
    "latitude" | "centerLatitude" => latitude,
    "longitude" | "centerLongitude" => longitude,
    "radius" => radius,
    "limit" => limit,
    "vertices" => vertices,
    "nw_Corner" | "nwCorner" => north_west,
    "se_Corner" | "seCorner" => south_east,
});

impl Value {
    fn position(&self, prefix: &str) -> Result<(f64, f64), String> {
        let latitude = self.latitude.ok_or_else(|| missing(prefix, "latitude"))?;
        let longitude = self.longitude.ok_or_else(|| missing(prefix, "longitude"))?;
        if geometry::valid_position(longitude, latitude) {
            Ok((latitude, longitude))
        } else {
            Err("a position is off the globe".to_owned())
        }
    }
}

fn missing(prefix: &str, name: &str) -> String {
    match prefix {
        "" => format!("`{name}` is missing"),
        prefix => format!("`{prefix}{}{}` is missing", name[..1].to_uppercase(), &name[1..]),
    }
}

fn corner(name: &str, text: &str) -> Result<(f64, f64), String> {
    let numbers: Vec<f64> = text.split(',').map_while(|number| number.trim().parse().ok()).collect();
    match numbers.as_slice() {
        [latitude, longitude] if geometry::valid_position(*longitude, *latitude) => Ok((*latitude, *longitude)),
        _ => Err(format!("`{name}` must be a text as \"49.4,8.6\" (latitude, longitude)")),
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let wire = Wire::deserialize(deserializer)?;
        let scope_type = wire.scope_type.clone();
        Scope::from_wire(wire).map_err(|message| D::Error::custom(format!("scopeValue of scope `{scope_type}`: {message}")))
    }
}

impl Scope {
    fn from_wire(Wire { scope_type, value }: Wire) -> Result<Self, String> {
        let object = || serde_json::from_str::<Value>(value.as_text()).map_err(|error| error.to_string());
        Ok(match scope_type.to_ascii_lowercase().as_str() {
            "circle" => {
                let object = object()?;
                let (latitude, longitude) = object.position("center")?;
                let radius = object.radius.ok_or_else(|| missing("", "radius"))?;
                if radius < 0.0 {
                    return Err("`radius` is negative".to_owned());
                }
                Scope::Circle { latitude, longitude, radius }
            }
            "polygon" => {
                let vertices = object()?.vertices.iter().map(|vertex| vertex.position("")).collect::<Result<Vec<_>, _>>()?;
                let distinct = vertices.len() - usize::from(vertices.len() > 1 && vertices.first() == vertices.last());
                if distinct < 3 {
                    return Err("`vertices` needs three of them".to_owned());
                }
                Scope::Polygon(vertices)
            }
            "point" => {
                let (latitude, longitude) = object()?.position("")?;
                Scope::Point { latitude, longitude }
            }
            "simplegeolocation" => {
                let object = object()?;
                let north_west = corner("nw_Corner", &object.north_west)?;
                Scope::SimpleGeolocation { north_west, south_east: corner("se_Corner", &object.south_east)? }
            }
            "nearby" => {
                let object = object()?;
                let (latitude, longitude) = object.position("")?;
                let limit = match object.limit {
                    None => 1,
                    Some(limit) if limit >= 0.0 && limit.fract() == 0.0 => limit as usize,
                    Some(_) => return Err("`limit` must be a whole number that is not negative".to_owned()),
                };
                Scope::Nearby { latitude, longitude, limit }
            }
            "stringquery" => {
                let text = value.as_str().ok_or("must be a string")?;
                Scope::StringQuery(StringQuery::parse(&text).map_err(|error| error.message)?)
            }
            _ => Scope::Other { scope_type, value },
        })
    }

    /// Upstream's spelling of the type.
    #[must_use]
    pub fn scope_type(&self) -> &str {
        match self {
            Scope::Circle { .. } => "circle",
            Scope::Polygon(_) => "polygon",
            Scope::Point { .. } => "point",
            Scope::SimpleGeolocation { .. } => "simplegeolocation",
            Scope::Nearby { .. } => "nearby",
            Scope::StringQuery(_) => "stringQuery",
            Scope::Other { scope_type, .. } => scope_type,
        }
    }

    fn value(&self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Scope::Circle { latitude, longitude, radius } => {
                json!({"centerLatitude": latitude, "centerLongitude": longitude, "radius": radius})
            }
            Scope::Polygon(vertices) => {
                let vertices: Vec<_> = vertices.iter().map(|(lat, lon)| json!({"latitude": lat, "longitude": lon})).collect();
                json!({"vertices": vertices})
            }
            Scope::Point { latitude, longitude } => json!({"latitude": latitude, "longitude": longitude}),
            Scope::SimpleGeolocation { north_west, south_east } => json!({
                "nw_Corner": format!("{},{}", north_west.0, north_west.1),
                "se_Corner": format!("{},{}", south_east.0, south_east.1),
            }),
            Scope::Nearby { latitude, longitude, limit } => json!({"latitude": latitude, "longitude": longitude, "limit": limit}),
            Scope::StringQuery(query) => query.as_str().into(),
            Scope::Other { value, .. } => value.to_value(),
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("scopeType", self.scope_type())?;
        map.serialize_entry("scopeValue", &self.value())?;
        map.end()
    }
}
