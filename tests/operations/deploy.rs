//! What is in deploy/: judged by the tools of those who read it, as far as that goes without Docker and without a
//! cluster. docs/deploying.md says what is not tested.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::operate::{shared_postgres, text, until};
use crate::support::{Pgweir, Scratch};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where scripts/test has put helm, hadolint and their like.
fn tool(name: &str) -> PathBuf {
    let cache = std::env::var("PGWEIR_CACHE_DIR");
    let cache = cache.unwrap_or_else(|_| "/var/cache/pgweir".to_owned());
    let tools = std::env::var("PGWEIR_DEPLOY_TOOLS").map(PathBuf::from);
    let tools = tools.unwrap_or_else(|_| Path::new(&cache).join("deploy-tools-helm2.2.2"));
    let tool = tools.join(name);
    assert!(tool.exists(), "no {}: run scripts/test", tool.display());
    tool
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    text(&output.stdout)
}

fn said(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[track_caller]
fn is_a_right_configuration(path: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgweir"));
    command
        .arg("--check")
        .arg(path)
        .env("APP_PASSWORD", "x")
        .env("ADMIN_PASSWORD", "y");
    succeeds(&mut command);
}

/// Its instructions, with lines that go on put together.
fn dockerfile() -> Vec<String> {
    let text = read("deploy/docker/Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    let lines = lines.filter(|line| !line.trim().is_empty());
    lines.map(str::to_owned).collect()
}

#[test]
fn the_dockerfile_is_right_and_has_what_it_copies() {
    let file = repository().join("deploy/docker/Dockerfile");
    succeeds(Command::new(tool("python/bin/hadolint")).arg(file));
    let ignored = read("deploy/docker/Dockerfile.dockerignore");
    let copies = dockerfile();
    let copies = copies.iter().filter_map(|line| line.strip_prefix("COPY "));
    let mut copied = 0;
    for copy in copies.filter(|copy| !copy.starts_with("--from")) {
        let names: Vec<&str> = copy.split_whitespace().collect();
        for source in &names[..names.len() - 1] {
            assert!(repository().join(source).exists(), "{source}");
            let let_in = ignored.lines().any(|line| line == format!("!{source}"));
            assert!(let_in, "{source} is kept out by .dockerignore");
            copied += 1;
        }
    }
    assert_eq!(copied, ignored.matches("\n!").count(), "of no use there");
}

/// Up to the point at which it would compile.
#[test]
fn the_dockerfiles_layer_of_dependencies_satisfies_cargo() {
    let scratch = Scratch::new("layer");
    fs::create_dir(scratch.0.join("fuzz")).unwrap();
    for file in ["Cargo.toml", "Cargo.lock", "fuzz/Cargo.toml"] {
        fs::copy(repository().join(file), scratch.0.join(file)).unwrap();
    }
    let instructions = dockerfile();
    let step = instructions
        .iter()
        .find_map(|line| line.strip_prefix("RUN mkdir"))
        .unwrap();
    let (files, build) = step.split_once("&& cargo build").unwrap();
    assert!(build.contains("--release --locked --bin pgweir"), "{build}");
    let script = format!("mkdir {files} && cargo metadata --offline --no-deps --format-version 1");
    let output = Command::new("sh")
        .args(["-ec", &script])
        .current_dir(&scratch.0)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(text(&output.stdout).contains(r#""name":"pgweir""#));
}

/// Docker asks whether it is well, and what is asked is what there is.
#[test]
fn the_image_is_asked_for_its_health() {
    let instructions = dockerfile();
    let of = |name: &str| {
        let found = instructions.iter().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_else(|| panic!("no {name}"))
    };
    let (options, command) = of("HEALTHCHECK ").split_once("CMD ").unwrap();
    for option in ["--interval=", "--timeout=", "--start-period=", "--retries="] {
        assert!(options.contains(option), "{options}");
    }
    let command: Vec<String> = serde_json::from_str(command).unwrap();
    let url = "http://127.0.0.1:9127/healthz";
    assert_eq!(command, ["/usr/bin/pgweir", "health", "--url", url]);
    // Nobody but its program is in the image, and what it asks is what others are let at.
    assert!(of("COPY --from=build ").ends_with(" /usr/bin/pgweir"));
    assert!(of("EXPOSE ").split(' ').any(|port| port == "9127"));
}

/// distroless/cc has the C library's and libgcc, and no others.
#[test]
fn the_image_has_the_libraries_that_the_binary_wants() {
    let wanted = succeeds(Command::new("ldd").arg(env!("CARGO_BIN_EXE_pgweir")));
    let there = [
        "linux-vdso",
        "ld-linux",
        "libc.",
        "libm.",
        "libgcc_s.",
        "libdl.",
        "libpthread.",
        "librt.",
    ];
    // What only the feature brings, which the image is not for.
    let of_pam = ["libpam.", "libaudit.", "libcap-ng."];
    for line in wanted.lines() {
        if cfg!(feature = "pam") && of_pam.iter().any(|name| line.contains(name)) {
            continue;
        }
        assert!(there.iter().any(|name| line.contains(name)), "{line}");
    }
    let mut base = dockerfile().into_iter().filter(|l| l.starts_with("FROM "));
    assert!(base.next_back().unwrap().contains("distroless/cc-debian12"));
}

#[test]
fn the_compose_file_is_one_and_has_what_it_mounts() {
    let program = r#"
import json, sys, yaml, jsonschema
compose = yaml.safe_load(open(sys.argv[1]))
jsonschema.Draft7Validator(json.load(open(sys.argv[2]))).validate(compose)
services = compose["services"]
for service in services.values():
    for needed in service.get("depends_on", []):
        assert needed in services, needed
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        print(source) if source.startswith(".") else compose["volumes"][source]
"#;
    let folder = repository().join("deploy/compose");
    let mounted = succeeds(
        Command::new(tool("python/bin/python"))
            .args(["-c", program])
            .arg(folder.join("docker-compose.yml"))
            .arg(tool("compose-spec.json")),
    );
    assert!(mounted.lines().count() >= 4, "{mounted}");
    for source in mounted.lines() {
        assert!(folder.join(source).exists(), "{source}");
    }
    // Dashboards are looked for where they are mounted, and ask the Prometheus that is there.
    let provisioning = "deploy/grafana/provisioning";
    let compose = read("deploy/compose/docker-compose.yml");
    let provider = read(&format!("{provisioning}/dashboards/pgweir.yml"));
    let (_, path) = provider.split_once("path: ").unwrap();
    assert!(compose.contains(&format!("/grafana/dashboards:{}:ro", path.trim())));
    let source = read(&format!("{provisioning}/datasources/prometheus.yml"));
    assert!(
        source.contains("url: http://prometheus:9090\n") && compose.contains("\n  prometheus:\n")
    );
    is_a_right_configuration(&folder.join("pgweir.toml"));
    let prometheus = read("deploy/compose/prometheus.yml");
    assert!(prometheus.contains("job_name: pgweir"));
    assert!(prometheus.contains("pgweir:9127"));
}

fn helm(arguments: &[&str]) -> Output {
    let mut command = Command::new(tool("bin/helm"));
    command.current_dir(repository().join("deploy/helm"));
    command.args(arguments).output().unwrap()
}

#[track_caller]
fn chart(values: &[&str]) -> String {
    let mut arguments = vec!["template", "demo", "pgweir", "--kube-version", "1.35.0"];
    values
        .iter()
        .for_each(|value| arguments.extend(["--set", value]));
    let output = helm(&arguments);
    assert!(output.status.success(), "{}", said(&output));
    text(&output.stdout)
}

#[test]
fn the_chart_is_right_with_all_kinds_of_values() {
    let output = helm(&["lint", "--strict", "pgweir"]);
    assert!(output.status.success(), "{}", said(&output));
    let scratch = Scratch::new("chart");
    let kinds: &[&[&str]] = &[
        &[],
        &[
            "secrets.APP_PASSWORD=x",
            "existingSecrets[0]=mine",
            "serviceMonitor.enabled=true",
            "podDisruptionBudget.maxUnavailable=50%",
            "extraVolumes[0].name=tls",
            "extraVolumes[0].secret.secretName=tls",
            "extraVolumeMounts[0].name=tls",
            "extraVolumeMounts[0].mountPath=/tls",
            "imagePullSecrets[0].name=pull",
            "nodeSelector.disk=ssd",
            "tolerations[0].operator=Exists",
            "priorityClassName=high",
            "podAnnotations.a=b",
            "podLabels.a=b",
        ],
        &[
            "podDisruptionBudget.enabled=false",
            "topologySpread=false",
            "service.type=LoadBalancer",
            "service.sessionAffinity=None",
        ],
    ];
    for (n, values) in kinds.iter().enumerate() {
        let rendered = chart(values);
        let file = scratch.0.join(format!("{n}.yaml"));
        fs::write(&file, &rendered).unwrap();
        for version in ["1.31", "1.35"] {
            let mut judge = Command::new(tool("python/bin/kubernetes-validate"));
            succeeds(judge.args(["--strict", "-k", version]).arg(&file));
        }
        for (path, probe) in [
            ("/startupz", "startupProbe"),
            ("/readyz", "readinessProbe"),
            ("/healthz", "livenessProbe"),
        ] {
            let at = rendered.find(probe).unwrap();
            assert!(rendered[at..at + 80].contains(path), "{probe}");
        }
    }
    for wrong in [
        "replicaCount=many",
        "replicas=3",
        "service.port=0",
        "image.pullPolicy=x",
    ] {
        let output = helm(&[
            "template",
            "demo",
            "pgweir",
            "--kube-version",
            "1.35.0",
            "--set",
            wrong,
        ]);
        let said = said(&output);
        assert!(said.contains("values don't meet"), "{wrong}: {said}");
    }
}

/// What Kubernetes allows for is longer than what pgweir takes.
#[test]
fn the_charts_configuration_is_right_and_leaves_time_to_drain() {
    let rendered = chart(&["shutdownSeconds=60", "preStopSeconds=7"]);
    let config = rendered.split("  pgweir.toml: |\n").nth(1).unwrap();
    let config: String = config
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    assert!(config.contains("shutdown_timeout = \"60s\""), "{config}");
    assert!(rendered.contains("terminationGracePeriodSeconds: 77"));
    let scratch = Scratch::new("chart-config");
    let path = scratch.0.join("pgweir.toml");
    fs::write(&path, config).unwrap();
    is_a_right_configuration(&path);
}

#[test]
fn the_debian_package_has_all_its_files() {
    let program = r#"
import glob, tomllib
deb = tomllib.load(open("Cargo.toml", "rb"))["package"]["metadata"]["deb"]
for asset in deb["assets"]:
    if not asset["source"].startswith("target/"):
        assert glob.glob(asset["source"]), asset
for name in deb["conf-files"]:
    assert any(name == "/" + a["dest"] for a in deb["assets"]), name
for name in deb["license-file"]:
    open(name)
"#;
    succeeds(Command::new("python3").args(["-c", program]));
    for script in ["postinst", "prerm", "postrm"] {
        let path = format!("deploy/debian/{script}");
        assert!(read(&path).contains("\n#DEBHELPER#\n"), "{script}");
        succeeds(Command::new("sh").arg("-n").arg(path));
    }
    is_a_right_configuration(&repository().join("deploy/debian/pgweir.toml"));
}

/// By logrotate itself, though not as whom and by whom it is done there. Also where the configuration is wrong by now.
#[test]
fn the_debian_packages_logrotate_has_the_log_opened_anew() {
    let pg = shared_postgres();
    let scratch = Scratch::new("rotate");
    let log = scratch.0.join("pgweir.log");
    let lines = format!("[log]\nfile = {log:?}");
    let weir = Pgweir::start(pg.port, &lines);
    let packaged = read("deploy/debian/logrotate");
    let hang_up = "systemctl kill --kill-who=main --signal=HUP pgweir.service";
    assert!(packaged.contains(hang_up), "{packaged}");
    let rules = packaged
        .replace("/var/log/pgweir", scratch.0.to_str().unwrap())
        .replace("    su pgweir pgweir\n", "")
        .replace(hang_up, &format!("kill -HUP {}", weir.child.id()));
    let file = scratch.0.join("rules");
    fs::write(&file, rules).unwrap();
    // It trusts nobody else's.
    for (path, mode) in [(&scratch.0, 0o755), (&file, 0o644)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let rotate = || {
        let mut logrotate = Command::new("/usr/sbin/logrotate");
        logrotate.args(["--force", "--state"]);
        succeeds(logrotate.arg(scratch.0.join("state")).arg(&file));
    };
    let is_written = |what: &str| {
        until(what, || {
            drop(weir.client());
            fs::read_to_string(&log).is_ok_and(|text| text.contains("login attempt"))
        });
    };
    let old = scratch.0.join("pgweir.log.1");
    is_written("the first one");
    rotate();
    is_written("the second one");
    assert!(old.exists());
    weir.rewrite(pg.port, &format!("no_such_key = 1\n{lines}"));
    rotate();
    is_written("the third one");
    assert!(scratch.0.join("pgweir.log.2.gz").exists());
    let said = fs::read_to_string(&old).unwrap();
    assert!(said.contains("configuration reloaded"), "{said}");
}

#[test]
fn systemd_takes_the_units() {
    let scratch = Scratch::new("units");
    for unit in ["pgweir.service", "pgweir.socket"] {
        let text = read(&format!("deploy/systemd/{unit}"));
        let text = text.replace("/usr/bin/pgweir", env!("CARGO_BIN_EXE_pgweir"));
        fs::write(scratch.0.join(unit), text).unwrap();
    }
    // It is started when it can be asked how it is, and what it may write is where the package has it rotated.
    let unit = read("deploy/systemd/pgweir.service");
    for line in [
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "ExecStartPost=-/usr/bin/pgweir health --url http://127.0.0.1:9127/startupz",
        "LogsDirectory=pgweir",
    ] {
        assert!(unit.lines().any(|l| l == line), "no {line}");
    }
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "pgweir.service", "pgweir.socket"]);
    let output = command.current_dir(&scratch.0).output().unwrap();
    // It may end with 0 although it found something.
    assert_eq!(said(&output), "", "{:?}", output.status);
    assert!(output.status.success());
}
