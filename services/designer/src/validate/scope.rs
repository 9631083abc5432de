//! Geoscopes: the numbers have to be places.

use fogflow_orchestration::GeoScope;
use serde_json::Value;

use crate::error::{ApiError, ApiResult};

/// Checks kind and value of a scope.
///
/// # Errors
/// 400 with the field that is wrong.
pub(crate) fn geoscope(scope: &GeoScope) -> ApiResult<()> {
    let value = &scope.scope_value;
    match scope.scope_type.as_str() {
        "" | "global" | "local" => Ok(()),
        "circle" => {
            place("geoscope.scopeValue", value, "centerLatitude", "centerLongitude")?;
            let radius = number("geoscope.scopeValue.radius", value.get("radius"))?;
            if radius > 0.0 { Ok(()) } else { Err(ApiError::bad("geoscope.scopeValue.radius has to be above 0 (metres)")) }
        }
        "polygon" => {
            let vertices = value.get("vertices").and_then(Value::as_array);
            let vertices = vertices.ok_or_else(|| ApiError::bad("geoscope.scopeValue.vertices has to be a list"))?;
            if vertices.len() < 3 {
                return Err(ApiError::bad("geoscope.scopeValue.vertices needs at least 3 points"));
            }
            vertices.iter().enumerate().try_for_each(|(index, vertex)| point(&format!("geoscope.scopeValue.vertices[{index}]"), vertex))
        }
        "nearby" => {
            point("geoscope.scopeValue", value)?;
            let limit = number("geoscope.scopeValue.limit", value.get("limit"))?;
            if limit >= 1.0 { Ok(()) } else { Err(ApiError::bad("geoscope.scopeValue.limit has to be at least 1")) }
        }
        "stringQuery" => match value.as_str() {
            Some(query) if query.contains('=') => Ok(()),
            _ => Err(ApiError::bad("geoscope.scopeValue has to be text like name=value;name=value")),
        },
        other => Err(ApiError::bad(format!(
            "geoscope.scopeType {other:?} is not known; use global, local, circle, polygon, nearby or stringQuery"
        ))),
    }
}

/// Checks `{latitude, longitude}`.
///
/// # Errors
/// 400 with the field that is wrong.
pub(super) fn point(at: &str, value: &Value) -> ApiResult<()> {
    place(at, value, "latitude", "longitude")
}

fn place(at: &str, value: &Value, latitude: &str, longitude: &str) -> ApiResult<()> {
    for (key, limit) in [(latitude, 90.0), (longitude, 180.0)] {
        let degrees = number(&format!("{at}.{key}"), value.get(key))?;
        if degrees.abs() > limit {
            return Err(ApiError::bad(format!("{at}.{key} is {degrees}, outside -{limit}..{limit}")));
        }
    }
    Ok(())
}

fn number(field: &str, value: Option<&Value>) -> ApiResult<f64> {
    value.and_then(Value::as_f64).filter(|number| number.is_finite()).ok_or_else(|| ApiError::bad(format!("{field} has to be a number")))
}
