//! `fogflow new function`

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use fogflow_chassis::UsageError;

use crate::output::print;

/// A language of inline code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Python 3.8 or later
    Python,
    /// JavaScript for Node 18 or later
    #[value(alias = "js")]
    Javascript,
}

impl Language {
    /// The word in `code.language`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::Javascript => "javascript",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Language::Python => "function.py",
            Language::Javascript => "function.mjs",
        }
    }

    fn template(self) -> &'static str {
        match self {
            Language::Python => include_str!("../../../../sdk/python/function.py"),
            Language::Javascript => include_str!("../../../../sdk/javascript/function.mjs"),
        }
    }
}

#[derive(Args)]
pub(crate) struct FunctionArgs {
    /// Its name, also that of the folder
    name: PathBuf,
    /// Its language
    #[arg(long, value_enum, default_value_t = Language::Python)]
    lang: Language,
    /// Type of the entities that it is called for
    #[arg(long, value_name = "TYPE", default_value = "WeatherStation")]
    input: String,
    /// Type of the entities that it publishes; the function's name with a capital letter by default
    #[arg(long, value_name = "TYPE")]
    output: Option<String>,
}

/// Makes a folder with the function and `function.yaml`. Nothing that exists is overwritten.
pub(crate) fn function(args: &FunctionArgs) -> anyhow::Result<()> {
    let name = args.name.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return Err(UsageError(format!("{:?} is no name of a function: letters, digits, '-' and '_'", args.name)).into());
    }
    let output = args.output.clone().unwrap_or_else(|| capitalised(name));
    std::fs::create_dir_all(&args.name).with_context(|| args.name.display().to_string())?;
    write(&args.name.join(args.lang.file()), args.lang.template())?;
    write(&args.name.join("function.yaml"), &description(name, args.lang, &args.input, &output))?;
    let folder = args.name.display();
    Ok(print(&format!("{folder}/{}\n{folder}/function.yaml\n\nnext: fogflow run {folder}\n", args.lang.file()))?)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create_new(path).with_context(|| path.display().to_string())?;
    file.write_all(text.as_bytes()).with_context(|| path.display().to_string())
}

/// The manifest, which `fogflow apply -f` understands as well.
fn description(name: &str, language: Language, input: &str, output: &str) -> String {
    format!(
        "\
kind: Operator
name: {name}
code: {{language: {}, file: {}}}
parameters: []                # - {{name: threshold, value: \"30\"}}
---
kind: FogFunction
name: {name}
tasks:
  - name: main
    operator: {name}
    input_streams:
      - selected_type: {input}
        groupby: EntityID       # one task per entity; ALL: one task for all of them
        scoped: false
    output_streams:
      - entity_type: {output}
",
        language.word(),
        language.file()
    )
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Manifest, parse};
    use fogflow_client::Kind;

    #[test]
    fn a_new_function_can_be_applied_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for lang in [Language::Python, Language::Javascript] {
            let args = FunctionArgs { name: folder.path().join(lang.word()), lang, input: "Car".to_owned(), output: None };
            function(&args).unwrap();
            let text = std::fs::read_to_string(args.name.join("function.yaml")).unwrap();
            let Manifest::Objects(objects) = parse(&text, "function.yaml", &args.name).unwrap() else { panic!("no objects") };
            assert_eq!((objects[0].kind, objects[1].kind), (Kind::Operator, Kind::FogFunction));
            assert_eq!(objects[0].body["code"]["source"], lang.template());
            assert_eq!(objects[1].body["topology"]["tasks"][0]["input_streams"][0]["selected_type"], "Car");
            assert!(function(&args).is_err());
        }
    }

    #[test]
    fn a_name_that_cannot_be_registered_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("a b");
        let args = FunctionArgs { name: name.clone(), lang: Language::Python, input: "T".to_owned(), output: None };
        assert!(function(&args).unwrap_err().downcast_ref::<UsageError>().is_some());
        assert!(!name.exists());
    }
}
