//! Upload and download of pictures, under both paths that upstream's pages use.

use axum::Json;
use axum::body::Body;
use axum::extract::{Multipart, Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::app::Shared;
use crate::error::{ApiError, ApiResult};

/// `POST /photo`, `POST /data/photo`: a multipart form; the name of each field is the name of its picture.
pub(super) async fn upload(State(app): State<Shared>, mut form: Multipart) -> ApiResult<&'static str> {
    let mut stored = 0_usize;
    while let Some(field) = form.next_field().await.map_err(|error| ApiError::new(error.status(), error.body_text()))? {
        let named = field.name().or_else(|| field.file_name()).unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(|error| ApiError::new(error.status(), error.body_text()))?;
        app.photos.save(&named, &bytes).await?;
        stored += 1;
    }
    if stored == 0 {
        return Err(ApiError::bad("the form holds no file"));
    }
    Ok("File is uploaded")
}

/// `GET /photo`
pub(super) async fn list(State(app): State<Shared>) -> ApiResult<Json<Vec<String>>> {
    Ok(Json(app.photos.names().await?))
}

/// `GET /photo/{name}`, `GET /data/photo/{name}`
pub(super) async fn download(State(app): State<Shared>, Path(name): Path<String>) -> ApiResult<Response> {
    let (bytes, media_type) = app.photos.load(&name).await?;
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
