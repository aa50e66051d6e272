//! `deploy/demo.sh` up to the build: its arguments, and what it asks cargo to build. The programs that it
//! calls are replaced by scripts that write down how they were called.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Writes its arguments down and makes the example that the demo ends with.
const CARGO: &str = r#"#!/usr/bin/env bash
echo "cargo $*" >>"$CALLS"
for profile in trial release; do
    mkdir -p "$CARGO_TARGET_DIR/$profile/examples"
    printf '#!/bin/sh\necho "demo $*" >>"$CALLS"\n' >"$CARGO_TARGET_DIR/$profile/examples/demo"
    chmod +x "$CARGO_TARGET_DIR/$profile/examples/demo"
done
"#;

/// A machine on which the demo is started.
struct Machine {
    has_headers: bool,
    port_in_use: Option<u16>,
}

const MACHINE: Machine = Machine { has_headers: true, port_in_use: None };

/// What the demo printed, and the calls of cargo and of the example.
fn start(machine: &Machine, arguments: &[&str]) -> (Output, Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    write("cargo", CARGO);
    write("pkg-config", if machine.has_headers { "#!/bin/sh\n" } else { "#!/bin/sh\nexit 1\n" });
    let listens = machine.port_in_use.map(|port| {
        format!("#!/bin/sh\n[ \"$2\" != \"sport = :{port}\" ] || echo LISTEN 127.0.0.1:{port}\n")
    });
    write("ss", &listens.unwrap_or_else(|| "#!/bin/sh\n".to_owned()));
    let calls = folder.path().join("calls");
    let done = Command::new("bash")
        .args(["-c", r#"PATH=$1:$PATH exec "${@:2}""#, "bash"])
        .arg(folder.path())
        .arg(root.join("deploy/demo.sh"))
        .args(arguments)
        .env("CALLS", &calls)
        .env("CARGO_TARGET_DIR", folder.path())
        .env("COSMOS_BRIDGE_BROKERS_SCRIPT", "true")
        .output()
        .unwrap();
    let calls = fs::read_to_string(calls).unwrap_or_default();
    (done, calls.lines().map(str::to_owned).collect())
}

#[test]
fn a_mistake_in_the_arguments_is_reported_before_anything_is_built() {
    let cases: [(&[&str], &str); 9] = [
        (&["--kafak"], "unknown argument --kafak"),
        (&["50"], "unknown argument 50"),
        (&["--orders"], "--orders needs a whole number above 0"),
        (&["--orders", "many"], "--orders needs a whole number above 0"),
        (&["--orders", "0"], "--orders needs a whole number above 0"),
        (&["--seconds", "1.5"], "--seconds needs a whole number above 0"),
        (&["--rate", "fast"], "--rate needs a number above 0"),
        (&["--rate", "0.0"], "--rate needs a number above 0"),
        (&["--keep", "--rate"], "--rate needs a number above 0"),
    ];
    for (arguments, message) in cases {
        let (done, calls) = start(&MACHINE, arguments);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(message), "{arguments:?}: {said}");
        assert!(calls.is_empty(), "{arguments:?}: {calls:?}");
    }
}

#[test]
fn the_help_names_every_argument() {
    let (done, calls) = start(&MACHINE, &["--help"]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && calls.is_empty());
    for argument in
        ["--orders", "--rate", "--seconds", "--keep", "--release", "--kafka", "--rabbitmq"]
    {
        assert!(said.contains(argument), "{argument}: {said}");
    }
}

#[test]
fn a_port_in_use_is_reported_before_anything_is_built() {
    for port in [8081, 8082, 8090] {
        let machine = Machine { port_in_use: Some(port), ..MACHINE };
        let (done, calls) = start(&machine, &[]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("port {port} is in use")), "{said}");
        assert!(calls.is_empty(), "{calls:?}");
    }
}

#[test]
fn the_features_are_those_that_the_arguments_and_the_machine_need() {
    let without_headers = Machine { has_headers: false, ..MACHINE };
    let trial = |features: &str| {
        vec![format!(
            "cargo build --locked -p cosmos-bridge -p cosmos-bridge-emulator --no-default-features \
             --features {features} --profile trial --bin cosmos-bridge --example demo"
        )]
    };
    let release = |bridge: &str| {
        vec![
            format!("cargo build --locked -p cosmos-bridge {bridge}--release"),
            "cargo build --locked -p cosmos-bridge-emulator --release --example demo".to_owned(),
        ]
    };
    let plain = "cosmos-bridge/file,cosmos-bridge/http,";
    let cases: [(&Machine, &[&str], Vec<String>); 7] = [
        (&MACHINE, &[], trial(plain)),
        (&without_headers, &[], trial(plain)),
        (&MACHINE, &["--kafka"], trial(&format!("{plain}cosmos-bridge/kafka,"))),
        (
            &without_headers,
            &["--kafka", "--rabbitmq"],
            trial(&format!("{plain}cosmos-bridge/kafka,cosmos-bridge/amqp,cosmos-bridge/static,")),
        ),
        (&without_headers, &["--rabbitmq"], trial(&format!("{plain}cosmos-bridge/amqp,"))),
        (&MACHINE, &["--release"], release("")),
        (&without_headers, &["--release"], release("--features static ")),
    ];
    for (machine, arguments, expected) in cases {
        let (done, calls) = start(machine, arguments);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{arguments:?}: {said}");
        let builds = calls.iter().filter(|call| call.starts_with("cargo build"));
        assert_eq!(builds.cloned().collect::<Vec<_>>(), expected, "{arguments:?}");
        let shown = calls.last().unwrap();
        let passed = arguments.iter().filter(|argument| **argument != "--release");
        assert!(shown.starts_with("demo --bridge"), "{shown}");
        assert!(shown.ends_with(&passed.copied().collect::<Vec<_>>().join(" ")), "{shown}");
    }
}
