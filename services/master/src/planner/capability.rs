//! What of an operator can run on which worker (FAULT 13: upstream sends an empty image name when nothing fits).

use fogflow_orchestration::{Code, DockerImage, Executable, Operator, WorkerProfile};

/// What decides whether a worker can run an operator. Many workers share few kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerKind {
    /// `process`, `docker`, `kubernetes`, `mec`; empty from upstream, which means containers without inline code.
    pub engine: String,
    /// In Go's words, for example `amd64`.
    pub hardware: String,
    /// In Go's words, for example `linux`.
    pub os: String,
    /// Languages of inline code.
    pub languages: Vec<String>,
}

impl WorkerKind {
    /// The kind of a worker.
    #[must_use]
    pub fn of(worker: &WorkerProfile) -> Self {
        let mut languages: Vec<String> = worker.languages.iter().map(|language| language.to_ascii_lowercase()).collect();
        languages.sort_unstable();
        WorkerKind {
            engine: worker.engine.to_ascii_lowercase(),
            hardware: worker.hardware.to_ascii_lowercase(),
            os: worker.os.to_ascii_lowercase(),
            languages,
        }
    }

    fn runs_processes(&self) -> bool {
        self.engine == "process"
    }
}

impl std::fmt::Display for WorkerKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let engine = if self.engine.is_empty() { "container" } else { &self.engine };
        write!(formatter, "{engine} on {}/{}", self.os, self.hardware)
    }
}

/// What a worker is told to run.
#[derive(Clone, Debug, PartialEq)]
pub enum Artefact {
    /// An image, `name:tag` or `name@digest`.
    Image(String),
    /// A command.
    Executable(Executable),
    /// Inline code.
    Code(Code),
}

/// What of an operator runs on a kind of worker. Container engines take an image, else inline code; the process engine takes
/// an executable, else inline code. Among several, an exact architecture goes before a family before `any`, then the order of
/// registration.
#[must_use]
pub fn artefact_for(operator: &Operator, worker: &WorkerKind) -> Option<Artefact> {
    let code = || operator.code.clone().filter(|code| runs_code(code, worker)).map(Artefact::Code);
    if worker.runs_processes() {
        let best = best_of(&operator.executables, |executable: &Executable| {
            (!executable.command.is_empty())
                .then(|| fit(executable.hw_type.as_deref().unwrap_or(""), executable.os_type.as_deref().unwrap_or(""), worker))
                .flatten()
        });
        best.cloned().map(Artefact::Executable).or_else(code)
    } else {
        let best = best_of(&operator.dockerimages, |image: &DockerImage| {
            (!image.name.is_empty()).then(|| fit(&image.hw_type, &image.os_type, worker)).flatten()
        });
        best.map(|image| Artefact::Image(image_reference(image))).or_else(code)
    }
}

/// Why nothing of an operator runs on any of these kinds of workers.
#[must_use]
pub fn reason_for_none<'a>(operator: &Operator, kinds: impl Iterator<Item = &'a WorkerKind>) -> String {
    if operator.dockerimages.is_empty() && operator.executables.is_empty() && operator.code.is_none() {
        return format!("operator `{}` has no image, executable or code", operator.name);
    }
    let mut has: Vec<String> = Vec::new();
    has.extend(
        operator
            .dockerimages
            .iter()
            .map(|image| format!("image {} ({}/{})", image_reference(image), word(&image.os_type), word(&image.hw_type))),
    );
    has.extend(operator.executables.iter().map(|executable| {
        format!(
            "executable {} ({}/{})",
            executable.command.first().map_or("without command", String::as_str),
            word(executable.os_type.as_deref().unwrap_or("")),
            word(executable.hw_type.as_deref().unwrap_or(""))
        )
    }));
    has.extend(operator.code.iter().map(|code| format!("{} code", code.language)));
    let kinds: Vec<String> = kinds.map(ToString::to_string).collect();
    format!("no worker can run operator `{}`: it has {}, workers are {}", operator.name, has.join(", "), kinds.join(", "))
}

/// `name:tag`; a digest stays as it is written.
#[must_use]
pub fn image_reference(image: &DockerImage) -> String {
    if image.name.contains('@') {
        image.name.clone()
    } else if image.tag.starts_with("sha256:") {
        format!("{}@{}", image.name, image.tag)
    } else if image.tag.is_empty() {
        format!("{}:latest", image.name)
    } else {
        format!("{}:{}", image.name, image.tag)
    }
}

fn word(of_type: &str) -> &str {
    if of_type.is_empty() { "any" } else { of_type }
}

fn runs_code(code: &Code, worker: &WorkerKind) -> bool {
    let language = code.language.to_ascii_lowercase();
    match worker.engine.as_str() {
        // Upstream's worker, which knows no inline code.
        "" | "mec" => worker.languages.contains(&language),
        // The interpreter has to be on the machine.
        "process" => worker.languages.contains(&language),
        // The sdk's base images serve both languages; a worker may restrict them.
        _ => {
            if worker.languages.is_empty() {
                matches!(language.as_str(), "python" | "javascript")
            } else {
                worker.languages.contains(&language)
            }
        }
    }
}

/// The item with the best fit, the first of equals.
fn best_of<T>(items: &[T], fit: impl Fn(&T) -> Option<u8>) -> Option<&T> {
    let mut best: Option<(u8, &T)> = None;
    for item in items {
        if let Some(fit) = fit(item)
            && best.is_none_or(|(so_far, _)| fit > so_far)
        {
            best = Some((fit, item));
        }
    }
    best.map(|(_, item)| item)
}

/// How well a pair of types fits a worker; `None` when it cannot run there. Higher is better.
fn fit(hw_type: &str, os_type: &str, worker: &WorkerKind) -> Option<u8> {
    let os = match os_type.to_ascii_lowercase().as_str() {
        "" | "any" => true,
        "macos" => matches!(worker.os.as_str(), "darwin" | "macos"),
        // Upstream's images are all for Linux, and a worker that does not say is one of upstream's.
        "linux" => worker.os == "linux" || worker.os.is_empty(),
        other => other == worker.os,
    };
    os.then(|| hardware_fit(&hw_type.to_ascii_lowercase(), &worker.hardware)).flatten()
}

fn hardware_fit(wanted: &str, hardware: &str) -> Option<u8> {
    let family = match hardware {
        "arm" | "armv7l" => "arm",
        "arm64" | "aarch64" => "arm64",
        "" | "amd64" | "x86_64" | "386" | "i386" | "x86" => "x86",
        other => other,
    };
    match (wanted, family) {
        ("" | "any", _) => Some(1),
        ("arm64" | "aarch64", "arm64") => Some(3),
        // 64-bit ARM runs what upstream calls ARM.
        ("arm", "arm64") => Some(2),
        ("arm" | "armv7", "arm") => Some(3),
        ("x86" | "amd64" | "x86_64" | "386", "x86") => Some(3),
        (same, family) => (same == family).then_some(3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, hw: &str, os: &str) -> DockerImage {
        DockerImage { name: name.to_owned(), tag: "1".to_owned(), hw_type: hw.to_owned(), os_type: os.to_owned(), ..DockerImage::default() }
    }

    fn kind(engine: &str, hardware: &str, os: &str) -> WorkerKind {
        WorkerKind { engine: engine.to_owned(), hardware: hardware.to_owned(), os: os.to_owned(), languages: vec!["python".to_owned()] }
    }

    fn image_for(operator: &Operator, worker: &WorkerKind) -> Option<String> {
        match artefact_for(operator, worker) {
            Some(Artefact::Image(name)) => Some(name),
            _ => None,
        }
    }

    #[test]
    fn fault_13_arm64_is_arm_and_an_exact_image_is_preferred() {
        let mut operator = Operator {
            name: "o".to_owned(),
            dockerimages: vec![image("x", "X86", "Linux"), image("a", "ARM", "Linux")],
            ..Operator::default()
        };
        assert_eq!(image_for(&operator, &kind("docker", "arm64", "linux")).as_deref(), Some("a:1"));
        assert_eq!(image_for(&operator, &kind("docker", "aarch64", "linux")).as_deref(), Some("a:1"));
        assert_eq!(image_for(&operator, &kind("docker", "arm", "linux")).as_deref(), Some("a:1"));
        assert_eq!(image_for(&operator, &kind("", "amd64", "linux")).as_deref(), Some("x:1"));
        operator.dockerimages.push(image("b", "ARM64", "Linux"));
        assert_eq!(image_for(&operator, &kind("docker", "arm64", "linux")).as_deref(), Some("b:1"));
        assert_eq!(image_for(&operator, &kind("docker", "arm", "linux")).as_deref(), Some("a:1"));
    }

    #[test]
    fn fault_13_no_image_for_the_os_is_a_reason_not_an_empty_name() {
        let operator = Operator { name: "o".to_owned(), dockerimages: vec![image("x", "X86", "Linux")], ..Operator::default() };
        let windows = kind("docker", "amd64", "windows");
        assert_eq!(artefact_for(&operator, &windows), None);
        let reason = reason_for_none(&operator, [&windows].into_iter());
        assert!(reason.contains("x:1") && reason.contains("windows/amd64"), "{reason}");
        let empty = Operator { name: "e".to_owned(), ..Operator::default() };
        assert!(reason_for_none(&empty, [&windows].into_iter()).contains("no image, executable or code"));
    }

    #[test]
    fn a_process_worker_takes_executables_then_code_also_beside_images() {
        let executable = Executable { command: vec!["run".to_owned()], hw_type: Some("ARM".to_owned()), ..Executable::default() };
        let code = Code { language: "Python".to_owned(), source: String::new() };
        let operator = Operator {
            name: "o".to_owned(),
            dockerimages: vec![image("x", "", "")],
            executables: vec![executable.clone()],
            code: Some(code.clone()),
            ..Operator::default()
        };
        assert_eq!(artefact_for(&operator, &kind("process", "arm64", "linux")), Some(Artefact::Executable(executable)));
        assert_eq!(artefact_for(&operator, &kind("process", "amd64", "linux")), Some(Artefact::Code(code)));
        let mut without_python = kind("process", "amd64", "linux");
        without_python.languages.clear();
        assert_eq!(artefact_for(&operator, &without_python), None);
    }

    #[test]
    fn container_workers_take_images_then_code_and_upstreams_take_images_only() {
        let code = Code { language: "javascript".to_owned(), source: String::new() };
        let operator = Operator { name: "o".to_owned(), code: Some(code.clone()), ..Operator::default() };
        let mut worker = WorkerKind { languages: Vec::new(), ..kind("docker", "amd64", "linux") };
        assert_eq!(artefact_for(&operator, &worker), Some(Artefact::Code(code)));
        worker.engine.clear();
        assert_eq!(artefact_for(&operator, &worker), None);
    }

    #[test]
    fn digests_are_kept() {
        assert_eq!(
            image_reference(&DockerImage { name: "a/b@sha256:1".to_owned(), tag: "latest".to_owned(), ..DockerImage::default() }),
            "a/b@sha256:1"
        );
        assert_eq!(
            image_reference(&DockerImage { name: "a/b".to_owned(), tag: "sha256:1".to_owned(), ..DockerImage::default() }),
            "a/b@sha256:1"
        );
        assert_eq!(image_reference(&DockerImage { name: "a/b".to_owned(), ..DockerImage::default() }), "a/b:latest");
    }
}
