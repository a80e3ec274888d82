//! The API token: from the environment or a file, never from the configuration.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use enxame_core::secret::Secret;

use super::EdgeError;

/// The environment variable; it goes before the file.
pub(crate) const VARIABLE: &str = "HOSTINGER_API_TOKEN";

/// The token of the environment, where it is set, or of the file.
pub(super) fn read(of_environment: Option<String>, file: Option<&Path>) -> Result<Secret, EdgeError> {
    let (text, place) = match (of_environment.filter(|text| !text.trim().is_empty()), file) {
        (Some(text), _) => (text, VARIABLE.to_owned()),
        (None, Some(path)) => (of_file(path)?, path.display().to_string()),
        (None, None) => return Err(EdgeError::NoToken),
    };
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(EdgeError::NotAToken { place });
    }
    Ok(Secret::new(text.to_owned()))
}

fn of_file(path: &Path) -> Result<String, EdgeError> {
    let unreadable = |source| EdgeError::TokenFile { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(EdgeError::TokenIsExposed { path: path.to_owned(), mode: mode & 0o777 });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32, text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let file = file(0o600, "from-file\n");
        assert_eq!(read(Some("from-env".into()), Some(file.path())).unwrap().reveal(), "from-env");
        assert_eq!(read(Some(String::new()), Some(file.path())).unwrap().reveal(), "from-file");
        assert!(matches!(read(None, None), Err(EdgeError::NoToken)));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_and_its_text_is_not_shown() {
        let file = file(0o640, "very-secret");
        let error = read(None, Some(file.path())).unwrap_err();
        assert!(matches!(error, EdgeError::TokenIsExposed { mode: 0o640, .. }));
        assert!(error.hint().unwrap().contains("chmod 600"));
        assert!(!format!("{error} {error:?}").contains("very-secret"));
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_shown() {
        let file = file(0o600, "two words");
        let error = read(None, Some(file.path())).unwrap_err();
        assert!(matches!(&error, EdgeError::NotAToken { .. }) && !format!("{error:?}").contains("words"));
        let missing = read(None, Some(Path::new("/nonexistent/token"))).unwrap_err();
        assert!(matches!(missing, EdgeError::TokenFile { .. }));
    }
}
