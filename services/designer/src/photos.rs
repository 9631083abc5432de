//! Uploaded pictures: one directory, plain names, real pictures only (D 8, D 10).

use std::path::{Path, PathBuf};

use axum::http::StatusCode;

use crate::error::{ApiError, ApiResult};

/// Largest picture, in bytes.
pub(crate) const LARGEST: usize = 5 * 1024 * 1024;
/// Pictures kept.
const MOST: usize = 1000;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Photos {
    directory: PathBuf,
}

impl Photos {
    /// Pictures in this directory, which is made when the first one comes.
    #[must_use]
    pub(crate) fn new(directory: PathBuf) -> Self {
        Photos { directory }
    }

    /// Stores a picture under the last part of `name`.
    ///
    /// # Errors
    /// 400 for a name or content that is no picture's, 413 if it is too large, 507 if there are too many or no space.
    pub(crate) async fn save(&self, name: &str, bytes: &[u8]) -> ApiResult<String> {
        let name = plain_name(name)?;
        if bytes.len() > LARGEST {
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a picture may have {LARGEST} bytes")));
        }
        if media_type(bytes).is_none() {
            return Err(ApiError::bad(format!("{name:?} is not a PNG, JPEG, GIF or WebP picture")));
        }
        let failed =
            |error: std::io::Error| ApiError::new(StatusCode::INSUFFICIENT_STORAGE, format!("the picture cannot be stored: {error}"));
        tokio::fs::create_dir_all(&self.directory).await.map_err(failed)?;
        let path = self.directory.join(&name);
        if !path.exists() && count(&self.directory).await.map_err(failed)? >= MOST {
            return Err(ApiError::new(StatusCode::INSUFFICIENT_STORAGE, format!("there are {MOST} pictures already")));
        }
        // Written aside and moved into place: nobody reads half a picture.
        let aside = self.directory.join(format!(".{}", uuid::Uuid::new_v4()));
        tokio::fs::write(&aside, bytes).await.map_err(failed)?;
        tokio::fs::rename(&aside, &path).await.map_err(failed)?;
        Ok(name)
    }

    /// The names of all pictures, in order.
    ///
    /// # Errors
    /// 500 if the directory cannot be read.
    pub(crate) async fn names(&self) -> ApiResult<Vec<String>> {
        let failed =
            |error: std::io::Error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("pictures cannot be listed: {error}"));
        let mut entries = match tokio::fs::read_dir(&self.directory).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        while let Some(entry) = entries.next_entry().await.map_err(failed)? {
            // What is being written has a name that no picture may have.
            names.extend(entry.file_name().to_str().and_then(|name| plain_name(name).ok()));
        }
        names.sort();
        Ok(names)
    }

    /// A picture with its media type.
    ///
    /// # Errors
    /// 404 if there is none of that name.
    pub(crate) async fn load(&self, name: &str) -> ApiResult<(Vec<u8>, &'static str)> {
        let missing = || ApiError::missing("picture", name);
        let plain = plain_name(name).map_err(|_| missing())?;
        let bytes = tokio::fs::read(self.directory.join(plain)).await.map_err(|_| missing())?;
        let media_type = media_type(&bytes).ok_or_else(missing)?;
        Ok((bytes, media_type))
    }
}

/// The last part of a client's file name, if it is plain.
fn plain_name(name: &str) -> ApiResult<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if last.is_empty() || last.len() > 128 || last.starts_with('.') || !last.chars().all(plain) {
        return Err(ApiError::bad(format!("{name:?} cannot be the name of a picture; use letters, digits, '.', '_' and '-'")));
    }
    Ok(last.to_owned())
}

/// By content, never by name: a browser must not be given anything else.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

async fn count(directory: &Path) -> std::io::Result<usize> {
    let mut entries = tokio::fs::read_dir(directory).await?;
    let mut count = 0;
    while entries.next_entry().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n....";

    #[tokio::test]
    async fn d_10_an_upload_never_leaves_its_directory() {
        let root = tempfile::tempdir().unwrap();
        let photos = Photos::new(root.path().join("photo"));
        for name in ["../evil.png", "/etc/evil.png", "..\\..\\evil.png", "a/b/evil.png"] {
            assert_eq!(photos.save(name, PNG).await.unwrap(), "evil.png");
        }
        for name in ["..", ".", "", "../", ".hidden.png", "a b.png", "a\0.png"] {
            assert_eq!(photos.save(name, PNG).await.unwrap_err().status, StatusCode::BAD_REQUEST, "{name:?}");
        }
        let outside: Vec<_> = std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(outside, ["photo"]);
    }

    #[tokio::test]
    async fn only_pictures_are_stored_and_the_type_comes_from_the_content() {
        let root = tempfile::tempdir().unwrap();
        let photos = Photos::new(root.path().to_owned());
        assert!(photos.save("page.png", b"<html><script>alert(1)</script>").await.is_err());
        photos.save("page.html", PNG).await.unwrap();
        assert_eq!(photos.load("page.html").await.unwrap().1, "image/png");
        assert_eq!(photos.names().await.unwrap(), ["page.html"]);
        assert_eq!(photos.load("other.png").await.unwrap_err().status, StatusCode::NOT_FOUND);
    }
}
