//! Where an intent applies: its geoscope, tested on the metadata item named `location` of an entity.

use fogflow_ngsi::geometry::distance_of_points;
use fogflow_orchestration::{EntityDetail, GeoScope, Location};
use geo::{Intersects, LineString, Point, Polygon, coord};
use serde_json::Value;

/// A geoscope, parsed.
///
/// `global`, `local` and an empty kind restrict nothing. An entity without a location matches no circle and no polygon.
/// Borders count as inside. Kinds are read in any letter case.
#[derive(Clone, Debug, PartialEq)]
pub enum Scope {
    /// No restriction.
    Everywhere,
    /// Within `radius` metres (great circle) of a point.
    Circle {
        /// The centre.
        centre: Location,
        /// Metres.
        radius: f64,
    },
    /// In a polygon on longitude and latitude. One that spans more than half the globe crosses the antimeridian instead.
    Polygon(Vec<Location>),
    /// Metadata items with these values.
    Metadata(Vec<(String, String)>),
}

impl Scope {
    /// Parses the scope of an intent.
    ///
    /// # Errors
    /// A sentence for the intent's state when the kind is unknown or its value is not of that kind.
    pub fn parse(scope: &GeoScope) -> Result<Self, String> {
        let value = &scope.scope_value;
        match scope.scope_type.to_ascii_lowercase().as_str() {
            "" | "global" | "local" => Ok(Scope::Everywhere),
            "circle" => {
                let number =
                    |name: &str| number(value.get(name)).ok_or_else(|| format!("geoscope circle: `{name}` is missing or no number"));
                let centre = Location { latitude: number("centerLatitude")?, longitude: number("centerLongitude")? };
                let radius = number("radius")?;
                if radius < 0.0 {
                    return Err("geoscope circle: `radius` is negative".to_owned());
                }
                Ok(Scope::Circle { centre, radius })
            }
            "polygon" => {
                let vertices = value.get("vertices").and_then(Value::as_array).ok_or("geoscope polygon: `vertices` is missing")?;
                let vertices: Option<Vec<Location>> = vertices.iter().map(point_value).collect();
                let vertices = vertices.ok_or("geoscope polygon: a vertex has no `latitude` and `longitude`")?;
                if vertices.len() < 3 {
                    return Err("geoscope polygon: fewer than three vertices".to_owned());
                }
                Ok(Scope::Polygon(vertices))
            }
            "stringquery" => {
                let text = value.as_str().ok_or("geoscope stringQuery: the value is no text")?;
                let items = text.split(';').filter(|item| !item.trim().is_empty()).map(|item| {
                    let (name, wanted) = item.split_once('=').ok_or_else(|| format!("geoscope stringQuery: `{item}` has no `=`"))?;
                    Ok((name.trim().to_owned(), wanted.trim().to_owned()))
                });
                Ok(Scope::Metadata(items.collect::<Result<_, String>>()?))
            }
            other => Err(format!("geoscope `{other}` cannot restrict an intent; known are global, local, circle, polygon, stringQuery")),
        }
    }

    /// Whether an entity lies in it.
    #[must_use]
    pub fn contains(&self, entity: &EntityDetail) -> bool {
        match self {
            Scope::Everywhere => true,
            Scope::Circle { centre, radius } => {
                location_of(entity).is_some_and(|place| distance_of_points(point(*centre), point(place)) <= *radius)
            }
            Scope::Polygon(vertices) => location_of(entity).is_some_and(|place| in_polygon(vertices, place)),
            Scope::Metadata(items) => items.iter().all(|(name, wanted)| {
                entity.metadata.get(name).and_then(|item| item.get("value")).is_some_and(|value| match value {
                    Value::String(text) => text == wanted,
                    Value::Number(number) => wanted.parse::<f64>().is_ok_and(|wanted| number.as_f64() == Some(wanted)),
                    Value::Bool(flag) => wanted.parse() == Ok(*flag),
                    _ => false,
                })
            }),
        }
    }
}

/// The value of the metadata item `location`: `{latitude, longitude}` or a GeoJSON point. Other forms are no location
/// (FAULT 23: upstream's master panics on them).
#[must_use]
pub fn location_of(entity: &EntityDetail) -> Option<Location> {
    point_value(entity.metadata.get("location")?.get("value")?)
}

fn point_value(value: &Value) -> Option<Location> {
    let (longitude, latitude) = match value.get("coordinates").and_then(Value::as_array) {
        Some(coordinates) => (number(coordinates.first())?, number(coordinates.get(1))?),
        None => (number(value.get("longitude"))?, number(value.get("latitude"))?),
    };
    fogflow_ngsi::geometry::valid_position(longitude, latitude).then_some(Location { latitude, longitude })
}

/// A finite number; a number written as text counts, since forms of the dashboard send it so.
fn number(value: Option<&Value>) -> Option<f64> {
    let number = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

fn point(place: Location) -> Point<f64> {
    Point::new(place.longitude, place.latitude)
}

fn in_polygon(vertices: &[Location], place: Location) -> bool {
    let longitudes = vertices.iter().map(|vertex| vertex.longitude);
    let west = longitudes.clone().fold(f64::INFINITY, f64::min);
    let crosses_antimeridian = longitudes.fold(f64::NEG_INFINITY, f64::max) - west > 180.0;
    let east_of_180 = |place: &Location| {
        let x = if crosses_antimeridian && place.longitude < 0.0 { place.longitude + 360.0 } else { place.longitude };
        coord! { x: x, y: place.latitude }
    };
    let ring: LineString<f64> = vertices.iter().map(east_of_180).collect();
    Polygon::new(ring, Vec::new()).intersects(&Point(east_of_180(&place)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope(kind: &str, value: Value) -> Result<Scope, String> {
        Scope::parse(&GeoScope { scope_type: kind.to_owned(), scope_value: value })
    }

    fn entity(name: &str, value: Value) -> EntityDetail {
        EntityDetail { metadata: [(name.to_owned(), json!({"type": "point", "value": value}))].into(), ..EntityDetail::default() }
    }

    #[test]
    fn a_circle_holds_what_is_within_its_radius_in_metres() {
        let circle = scope("Circle", json!({"centerLatitude": 49.4, "centerLongitude": 8.6, "radius": "1000"})).expect("it parses");
        assert!(circle.contains(&entity("location", json!({"latitude": 49.405, "longitude": 8.6}))));
        assert!(circle.contains(&entity("location", json!({"type": "Point", "coordinates": [8.6, 49.405]}))));
        assert!(!circle.contains(&entity("location", json!({"latitude": 49.42, "longitude": 8.6}))));
    }

    #[test]
    fn only_the_item_named_location_counts_and_no_location_is_outside() {
        let circle = scope("circle", json!({"centerLatitude": 49.4, "centerLongitude": 8.6, "radius": 1000})).expect("it parses");
        assert!(!circle.contains(&entity("destination", json!({"latitude": 49.4, "longitude": 8.6}))));
        assert!(!circle.contains(&EntityDetail::default()));
        assert!(scope("global", json!("global")).expect("it parses").contains(&EntityDetail::default()));
        assert!(scope("local", json!("local")).expect("it parses").contains(&EntityDetail::default()));
    }

    #[test]
    fn fault_23_a_location_of_another_form_is_no_location() {
        for value in [json!("Heidelberg"), json!(7), json!({"latitude": "north"}), json!({"coordinates": [400, 0]}), Value::Null, json!([])]
        {
            assert_eq!(location_of(&entity("location", value)), None);
        }
        assert_eq!(location_of(&EntityDetail { metadata: [("location".to_owned(), json!(3))].into(), ..EntityDetail::default() }), None);
    }

    #[test]
    fn a_polygon_holds_inside_and_border_also_over_the_antimeridian() {
        let corner = |latitude: f64, longitude: f64| json!({"latitude": latitude, "longitude": longitude});
        let place = |latitude: f64, longitude: f64| entity("location", corner(latitude, longitude));
        let square = scope("polygon", json!({"vertices": [corner(49.0, 8.0), corner(49.0, 9.0), corner(50.0, 9.0), corner(50.0, 8.0)]}))
            .expect("it parses");
        assert!(square.contains(&place(49.5, 8.5)) && square.contains(&place(49.0, 8.5)) && !square.contains(&place(48.9, 8.5)));
        let fiji = scope(
            "polygon",
            json!({"vertices": [corner(-20.0, 170.0), corner(-20.0, -170.0), corner(-10.0, -170.0), corner(-10.0, 170.0)]}),
        )
        .expect("it parses");
        assert!(fiji.contains(&place(-15.0, 179.0)) && fiji.contains(&place(-15.0, -179.0)) && !fiji.contains(&place(-15.0, 0.0)));
    }

    #[test]
    fn string_query_compares_numbers_and_booleans_by_value() {
        let query = scope("stringQuery", json!("floor=3;open=true;city=Heidelberg;")).expect("it parses");
        let mut flat = EntityDetail::default();
        for (name, value) in [("floor", json!(3.0)), ("open", json!(true)), ("city", json!("Heidelberg"))] {
            assert!(!query.contains(&flat));
            flat.metadata.insert(name.to_owned(), json!({"type": "x", "value": value}));
        }
        assert!(query.contains(&flat));
    }

    #[test]
    fn scopes_that_cannot_be_meant_say_why() {
        for (kind, value, word) in [
            ("circle", json!({"centerLatitude": 1, "centerLongitude": 1}), "radius"),
            ("polygon", json!({"vertices": [{"latitude": 1, "longitude": 1}]}), "three"),
            ("stringQuery", json!("a"), "="),
            ("nearby", json!({}), "nearby"),
        ] {
            assert!(scope(kind, value).expect_err("it is refused").contains(word));
        }
    }
}
