//! Directories that take a file from each package, from the administrator and from the running system: `modprobe.d`, `sysctl.d`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longer is no configuration that somebody wrote.
const MAX_BYTES: u64 = 1024 * 1024;

/// One line of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The file and the line's number, as in `/etc/modprobe.d/local.conf:3`.
    pub(crate) place: String,
    /// Without blanks at its ends.
    pub(crate) text: String,
}

/// The lines of all `.conf` files in these directories below `root`, in the order in which they are read: by the files'
/// names, of which the first directory that has one decides (sysctl.d(5), modprobe.d(5)).
pub(crate) fn lines(root: &Path, directories: &[&str]) -> Vec<Line> {
    let mut files = BTreeMap::<OsString, PathBuf>::new();
    for directory in directories {
        for entry in fs::read_dir(root.join(directory)).into_iter().flatten().flatten() {
            let path = Path::new(directory).join(entry.file_name());
            if path.extension().is_some_and(|extension| extension == "conf") {
                files.entry(entry.file_name()).or_insert(path);
            }
        }
    }
    files.into_values().flat_map(|path| lines_of(root, &path)).collect()
}

/// The lines of one file but for comments; none where there is no such file. A backslash at a line's end goes on with the next.
pub(crate) fn lines_of(root: &Path, path: &Path) -> Vec<Line> {
    let text = text(&root.join(path)).unwrap_or_default();
    let mut lines = Vec::new();
    let mut open: Option<Line> = None;
    for (number, text) in (1..).zip(text.lines()) {
        let (text, goes_on) = text.strip_suffix('\\').map_or((text, false), |text| (text, true));
        let (place, before) = open.take().map_or_else(
            || (format!("/{}:{number}", path.display()), String::new()),
            |line| (line.place, line.text),
        );
        let line = Line { place, text: format!("{before} {}", text.trim()).trim().to_owned() };
        if goes_on {
            open = Some(line);
        } else {
            lines.push(line);
        }
    }
    lines.extend(open);
    lines.retain(|line| !line.text.is_empty() && !line.text.starts_with(['#', ';']));
    lines
}

fn text(path: &Path) -> Option<String> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_are_read_by_their_names_and_the_first_directory_that_has_one_decides() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("etc/x.d/20-ours.conf", "# a comment\n\n  b \\\n   c\nd\n");
        write("usr/lib/x.d/20-ours.conf", "theirs\n");
        write("usr/lib/x.d/10-theirs.conf", "a");
        write("usr/lib/x.d/masked.conf", "e");
        write("usr/lib/x.d/README", "f");
        symlink("/dev/null", root.path().join("etc/x.d/masked.conf")).unwrap();
        let lines = lines(root.path(), &["etc/x.d", "run/x.d", "usr/lib/x.d"]);
        let shown: Vec<String> =
            lines.into_iter().map(|line| format!("{} {}", line.place, line.text)).collect();
        let expected =
            ["/usr/lib/x.d/10-theirs.conf:1 a", "/etc/x.d/20-ours.conf:3 b c", "/etc/x.d/20-ours.conf:5 d"];
        assert_eq!(shown, expected);
    }
}
