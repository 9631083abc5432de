//! Operators and their images.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::request::Parts;
use fogflow_chassis::Access;
use fogflow_orchestration::{DockerImage, Operator};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::app::Shared;
use crate::body;
use crate::error::{ApiError, ApiResult};
use crate::registry::Draft;
use crate::validate;

/// An operator as clients see it. Upstream's page fails without the list of images (D 4).
fn view(operator: &Operator) -> Value {
    let mut value = json!(operator);
    if let Some(members) = value.as_object_mut() {
        members.entry("dockerimages").or_insert_with(|| json!([]));
    }
    value
}

/// `GET /operator`: name -> operator.
pub(super) async fn list(State(app): State<Shared>) -> Json<Map<String, Value>> {
    Json(app.registry.read().operators.iter().map(|(name, operator)| (name.clone(), view(operator))).collect())
}

/// `GET /operator/{name}`
pub(super) async fn get(State(app): State<Shared>, Path(name): Path<String>) -> ApiResult<Json<Value>> {
    let contents = app.registry.read();
    contents.operators.get(&name).map(|operator| Json(view(operator))).ok_or_else(|| ApiError::missing("operator", &name))
}

/// `POST /operator`: one operator or a list of them, each new or in place of the old one.
/// One with code or executables needs a caller on this machine or the admin token; one with images does not.
pub(super) async fn put(State(app): State<Shared>, caller: Parts, bytes: Bytes) -> ApiResult<&'static str> {
    let operators = body::one_or_many::<Operator>(&bytes)?.items;
    for (operator, _) in &operators {
        validate::operator(operator)?;
        if operator.code.is_some() || !operator.executables.is_empty() {
            may_bring_code(&app, &caller)?;
        }
    }
    app.registry.write(|draft| operators.iter().try_for_each(|(operator, came_as)| store(draft, operator.clone(), came_as))).await?;
    Ok("OK")
}

fn may_bring_code(app: &Shared, caller: &Parts) -> ApiResult<()> {
    app.security
        .check(Access::LocalOrAdmin, &caller.method, &caller.headers, &caller.extensions)
        .map_err(|refusal| ApiError::new(refusal.status, refusal.reason))
}

/// Stores an operator. One that comes without `dockerimages` keeps those that it has.
pub(crate) fn store(draft: &mut Draft, mut operator: Operator, came_as: &Value) -> ApiResult<()> {
    if came_as.get("dockerimages").is_none_or(Value::is_null)
        && let Some(old) = draft.contents().operators.get(&operator.name)
    {
        operator.dockerimages.clone_from(&old.dockerimages);
    }
    for image in &mut operator.dockerimages {
        image.operator_name.clone_from(&operator.name);
    }
    draft.put(&operator.name.clone(), operator)
}

/// `DELETE /operator/{name}`: 409 while a topology uses it.
pub(super) async fn delete(State(app): State<Shared>, Path(name): Path<String>) -> ApiResult<&'static str> {
    app.registry
        .write(|draft| {
            draft.get::<Operator>(&name)?;
            let users = draft.contents().users_of_operator(&name);
            if !users.is_empty() {
                return Err(ApiError::conflict(format!("the operator {name:?} is used by {}", users.join(", "))));
            }
            draft.remove::<Operator>(&name);
            Ok(())
        })
        .await?;
    Ok("OK")
}

/// `GET /dockerimage`: the images of all operators.
pub(super) async fn all_images(State(app): State<Shared>) -> Json<Vec<DockerImage>> {
    Json(app.registry.read().operators.values().flat_map(|operator| operator.dockerimages.clone()).collect())
}

/// `GET /dockerimage/{operator}`
pub(super) async fn images(State(app): State<Shared>, Path(operator): Path<String>) -> ApiResult<Json<Vec<DockerImage>>> {
    let contents = app.registry.read();
    let found = contents.operators.get(&operator).ok_or_else(|| ApiError::missing("operator", &operator))?;
    Ok(Json(found.dockerimages.clone()))
}

/// `POST /dockerimage`: images with their `operatorName`.
pub(super) async fn put_images(State(app): State<Shared>, bytes: Bytes) -> ApiResult<&'static str> {
    add_images(&app, None, &bytes).await
}

/// `POST /dockerimage/{operator}`: images of this operator.
pub(super) async fn put_images_of(State(app): State<Shared>, Path(operator): Path<String>, bytes: Bytes) -> ApiResult<&'static str> {
    add_images(&app, Some(operator), &bytes).await
}

async fn add_images(app: &Shared, operator: Option<String>, bytes: &[u8]) -> ApiResult<&'static str> {
    let mut images: Vec<DockerImage> = body::one_or_many(bytes)?.items.into_iter().map(|(image, _)| image).collect();
    for image in &mut images {
        if let Some(operator) = &operator {
            image.operator_name.clone_from(operator);
        }
        validate::name("operatorName", &image.operator_name)?;
        validate::docker_image("image", image)?;
    }
    app.registry
        .write(|draft| {
            for image in &images {
                let mut operator = Operator::clone(&*draft.get::<Operator>(&image.operator_name)?);
                let same = |old: &DockerImage| {
                    (&old.name, &old.tag, &old.hw_type, &old.os_type) == (&image.name, &image.tag, &image.hw_type, &image.os_type)
                };
                match operator.dockerimages.iter_mut().find(|old| same(old)) {
                    Some(old) => old.clone_from(image),
                    None => operator.dockerimages.push(image.clone()),
                }
                draft.put(&image.operator_name, operator)?;
            }
            Ok(())
        })
        .await?;
    Ok("OK")
}

/// Query of [`delete_image`].
#[derive(Debug, Deserialize)]
pub(super) struct WhichImage {
    image: Option<String>,
    tag: Option<String>,
}

/// `DELETE /dockerimage/{operator}?image=<name>[&tag=<tag>]`: the first image of that name (and tag).
pub(super) async fn delete_image(
    State(app): State<Shared>,
    Path(operator): Path<String>,
    Query(which): Query<WhichImage>,
) -> ApiResult<&'static str> {
    let name = which.image.filter(|name| !name.is_empty()).ok_or_else(|| ApiError::bad("the parameter image is missing"))?;
    app.registry
        .write(|draft| {
            let mut changed = Operator::clone(&*draft.get::<Operator>(&operator)?);
            let matches = |image: &DockerImage| image.name == name && which.tag.as_ref().is_none_or(|tag| *tag == image.tag);
            let place = changed.dockerimages.iter().position(matches).ok_or_else(|| ApiError::missing("image", &name))?;
            changed.dockerimages.remove(place);
            draft.put(&operator, changed)
        })
        .await?;
    Ok("OK")
}
