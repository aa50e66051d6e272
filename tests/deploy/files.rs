//! Checks of the files below deploy/ that need no container engine, cluster or cloud. They are in
//! tests/scripts/deploy/check.py.

use std::path::Path;
use std::process::Command;

fn check(kind: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools =
        Command::new(root.join("tests/scripts/deploy_tools.sh")).arg("--check").output().unwrap();
    let printed = String::from_utf8_lossy(&tools.stdout);
    let python = printed.lines().find_map(|line| line.strip_prefix("python="));
    let python = python.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&tools.stderr)));
    let done = Command::new(python)
        .arg(root.join("tests/scripts/deploy/check.py"))
        .arg(kind)
        .env("BRIDGE", env!("CARGO_BIN_EXE_cosmos-bridge"))
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn the_image_file_is_clean() {
    check("image");
}

#[test]
fn the_systemd_unit_is_valid_and_confined() {
    check("systemd");
}

#[test]
fn the_chart_renders_to_valid_and_restricted_objects() {
    check("helm");
}

#[test]
fn the_compose_file_is_valid_and_fits_its_configuration() {
    check("compose");
}

#[test]
fn the_bicep_parses_and_the_template_says_the_same() {
    check("azure");
}

#[test]
fn yaml_files_are_clean() {
    check("yaml");
}

#[test]
fn alerts_dashboard_and_runbook_speak_of_what_there_is() {
    check("monitoring");
}
