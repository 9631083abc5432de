//! Inline code of an operator: the user's function, and beside it the runner of `sdk/` that serves it.

use std::fs;
use std::io;
use std::path::Path;

use fogflow_orchestration::Code;

const PYTHON: [(&str, &str); 4] = [
    ("fogflow_task/__init__.py", include_str!("../../../../sdk/python/fogflow_task/__init__.py")),
    ("fogflow_task/__main__.py", include_str!("../../../../sdk/python/fogflow_task/__main__.py")),
    ("fogflow_task/ngsi.py", include_str!("../../../../sdk/python/fogflow_task/ngsi.py")),
    ("fogflow_task/runner.py", include_str!("../../../../sdk/python/fogflow_task/runner.py")),
];

/// In `node_modules`, so that the user's code can import `fogflow-task`.
const JAVASCRIPT: [(&str, &str); 4] = [
    ("node_modules/fogflow-task/package.json", include_str!("../../../../sdk/javascript/package.json")),
    ("node_modules/fogflow-task/ngsi.mjs", include_str!("../../../../sdk/javascript/ngsi.mjs")),
    ("node_modules/fogflow-task/task.mjs", include_str!("../../../../sdk/javascript/task.mjs")),
    ("node_modules/fogflow-task/run.mjs", include_str!("../../../../sdk/javascript/run.mjs")),
];

/// A language of inline code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Python 3.8 or later.
    Python,
    /// Node 18 or later.
    JavaScript,
}

impl Language {
    /// The language of this name (`python`, `javascript`, and their usual short names; any case).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "python" | "python3" | "py" => Some(Language::Python),
            "javascript" | "js" | "node" | "nodejs" => Some(Language::JavaScript),
            _ => None,
        }
    }

    /// The name in a worker's profile.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::JavaScript => "javascript",
        }
    }

    /// Programs that run it, the best first.
    #[must_use]
    pub const fn interpreters(self) -> &'static [&'static str] {
        match self {
            Language::Python => &["python3", "python"],
            Language::JavaScript => &["node", "nodejs"],
        }
    }

    /// The sdk's base image, in which container engines run the code.
    #[must_use]
    pub const fn base_image(self) -> &'static str {
        match self {
            Language::Python => "fogflow/task-python:latest",
            Language::JavaScript => "fogflow/task-javascript:latest",
        }
    }

    /// The name of the file with the user's function. Node tells the two kinds of modules apart by it.
    #[must_use]
    pub fn function_file(self, source: &str) -> &'static str {
        match self {
            Language::Python => "function.py",
            Language::JavaScript if is_common_js(source) => "function.cjs",
            Language::JavaScript => "function.mjs",
        }
    }

    /// Arguments of the interpreter in the directory that [`write`] has filled.
    #[must_use]
    pub fn arguments(self, source: &str) -> [&'static str; 3] {
        match self {
            Language::Python => ["-m", "fogflow_task", self.function_file(source)],
            Language::JavaScript => ["--", "node_modules/fogflow-task/run.mjs", self.function_file(source)],
        }
    }
}

/// Upstream's functions are CommonJS (`exports.handler = …`); an `import` or `export` statement says otherwise.
fn is_common_js(source: &str) -> bool {
    let statement = |word: &str| {
        source
            .lines()
            .any(|line| line.trim_start().strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '{', '*', '\t', '"', '\''])))
    };
    !statement("export") && !statement("import") && (source.contains("exports") || source.contains("require("))
}

/// Writes the user's function and the runner into `directory`, replacing what was there.
///
/// # Errors
/// What the file system says.
pub fn write(directory: &Path, language: Language, code: &Code) -> io::Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    let runner = match language {
        Language::Python => PYTHON,
        Language::JavaScript => JAVASCRIPT,
    };
    for (name, text) in runner {
        let path = directory.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    fs::write(directory.join(language.function_file(&code.source)), &code.source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_common_js_functions_and_es_modules_are_told_apart() {
        assert!(is_common_js("exports.handler = function(e, publish) {}"));
        assert!(is_common_js("const x = require('x');\nmodule.exports = { handler };"));
        assert!(!is_common_js("export const handler = (e, publish) => {};"));
        assert!(!is_common_js("import fs from 'node:fs';\nexport default async () => {};"));
        assert!(!is_common_js("  export default () => 1; // like exports.handler"));
    }

    #[test]
    fn what_is_written_replaces_an_earlier_function() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("code");
        write(&path, Language::JavaScript, &Code { language: "js".to_owned(), source: "exports.handler = 1".to_owned() }).unwrap();
        write(&path, Language::Python, &Code { language: "python".to_owned(), source: "x = 1".to_owned() }).unwrap();
        assert!(!path.join("function.cjs").exists());
        assert_eq!(fs::read_to_string(path.join("function.py")).unwrap(), "x = 1");
        assert!(path.join("fogflow_task/runner.py").exists());
    }
}
