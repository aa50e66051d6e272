//! The bridge in the file system of its image, started as the image starts it: as its unprivileged user, without
//! environment variables or temporary files, and with write access to its state only.
//! `deploy/image/build.py` lays out the image around the binary of this build.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::support::planted::NOTE;
use crate::support::{Bridge, MOST_VERBOSE, Pair, eventually};

/// Binds the image's root to itself so that it can be made read-only, and the state's folder over it.
const BIND: &str = "mount --bind \"$ROOT\" \"$ROOT\"
mount --bind \"$ROOT$STATE\" \"$ROOT$STATE\"
mount -o remount,bind,ro \"$ROOT\"
";
/// As root: changes to the image's user and root. Programs are resolved before that, outside.
const CHANGE_USER: &str = "exec env -i COSMOS_DISABLE_IMDS=1 \
    \"$(command -v setpriv)\" --no-new-privs \
    \"$(command -v chroot)\" --userspec=\"$USER:$GROUP\" --groups= \"$ROOT\" \"$@\"\n";
/// Without privileges: becomes the image's user in a new user namespace.
const MAP_USER: &str = "exec env -i COSMOS_DISABLE_IMDS=1 \
    \"$(command -v setpriv)\" --no-new-privs \
    \"$(command -v unshare)\" --user --map-user=\"$USER\" --map-group=\"$GROUP\" \
    --root=\"$ROOT\" \"$@\"\n";

/// How a program can be confined on this machine, the closest to a container first.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Root with the right to mount: the file system is read-only.
    Mounts,
    /// Any user in a user namespace: likewise.
    Namespace,
    /// Root without the right to mount: everything but the state belongs to another user.
    Permissions,
}

impl Way {
    fn here() -> Self {
        let works = |program: &str, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).arg("true").output();
            done.is_ok_and(|done| done.status.success())
        };
        if works("unshare", &["--mount", "--propagation", "private", "chroot", "/"]) {
            Self::Mounts
        } else if works("chroot", &["--userspec=65532:65532", "/"]) {
            Self::Permissions
        } else {
            assert!(
                works("unshare", &["--user", "--map-root-user", "--mount"]),
                "this test has to be root with CAP_SYS_CHROOT, or the system has to allow user \
                 namespaces to everybody (sysctl kernel.unprivileged_userns_clone, \
                 user.max_user_namespaces)"
            );
            Self::Namespace
        }
    }

    fn command(self) -> Command {
        let (namespaces, script) = match self {
            Self::Mounts => (&["--mount", "--propagation", "private"][..], [BIND, CHANGE_USER]),
            Self::Namespace => (&["--user", "--map-root-user", "--mount"][..], [BIND, MAP_USER]),
            Self::Permissions => (&[][..], ["", CHANGE_USER]),
        };
        let mut command = Command::new(if namespaces.is_empty() { "sh" } else { "unshare" });
        if !namespaces.is_empty() {
            command.args(namespaces).arg("sh");
        }
        command.args(["-ec", &script.concat(), "sh"]);
        command
    }
}

/// The output of `deploy/image/build.py`.
#[derive(Deserialize)]
struct Image {
    root: PathBuf,
    command: Vec<String>,
    user: u32,
    group: u32,
    /// The working folder of the command: the folder of the state.
    folder: String,
}

impl Image {
    fn lay_out(folder: &Path) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tools =
            Command::new(here.join("tests/scripts/deploy_tools.sh")).arg("--check").output();
        let tools = tools.unwrap();
        let printed = String::from_utf8_lossy(&tools.stdout);
        let python = printed.lines().find_map(|line| line.strip_prefix("python="));
        let python = python.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&tools.stderr)));
        let done = Command::new(python)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(here.join("deploy/image/build.py"))
            .arg("--work")
            .arg(folder.join("image"))
            .args(["--binary", env!("CARGO_BIN_EXE_cosmos-bridge")])
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&done.stdout);
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{printed}{errors}");
        serde_json::from_str(printed.lines().last().unwrap()).unwrap()
    }

    /// Copies the configuration and its secrets into the image, readable for its user.
    fn configure(&self, config: &Path, state: &str) {
        // The last argument of the command is the configuration file.
        let inside = self.inside(self.command.last().unwrap());
        let folder = inside.parent().unwrap();
        std::fs::create_dir_all(folder).unwrap();
        let text = std::fs::read_to_string(config).unwrap();
        let text = format!("state.file = \"{state}\"\nlog.level = \"{MOST_VERBOSE}\"\n{text}");
        std::fs::write(&inside, text).unwrap();
        for key in ["source.key", "target.key"] {
            std::fs::copy(config.with_file_name(key), folder.join(key)).unwrap();
            let readable = PermissionsExt::from_mode(0o444);
            std::fs::set_permissions(folder.join(key), readable).unwrap();
        }
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Starts the image's command. The log is next to the configuration, outside of the image.
    fn start(&self, way: Way, config: &Path) -> Bridge {
        let mut command = way.command();
        command
            .args(&self.command)
            .env("ROOT", &self.root)
            .env("STATE", &self.folder)
            .env("USER", self.user.to_string())
            .env("GROUP", self.group.to_string());
        Bridge::spawn(command.into(), config, &[])
    }

    /// All files and folders except those of the state, with their sizes.
    fn files(&self) -> BTreeSet<(PathBuf, u64)> {
        let state = self.inside(&self.folder);
        let (mut found, mut folders) = (BTreeSet::new(), vec![self.root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let is_folder = entry.file_type().unwrap().is_dir();
                if is_folder && entry.path() != state {
                    folders.push(entry.path());
                }
                let size = if is_folder { 0 } else { entry.metadata().unwrap().len() };
                found.insert((entry.path(), size));
            }
        }
        found
    }
}

/// A line of `/proc/PID/status`, without its name.
fn status_of(bridge: &Bridge, name: &str) -> Vec<String> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bridge.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().split_whitespace().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_replicates_as_a_user_who_can_write_its_state_alone() {
    let way = Way::here();
    crate::support::history::announce(&format!("confined by {way:?}"));
    let pair = Pair::alike().await;
    let line = |n: u32| format!("{{\"id\":\"d{n}\",\"region\":\"r{}\",{NOTE}}}\n", n % 7);
    pair.seed(&(0..500).map(line).collect::<Vec<_>>().concat());
    let config = pair.configure("", "", "poll_interval = \"100ms\"", "");
    let image = Image::lay_out(pair.folder.path());
    image.configure(&config, &format!("{}/cosmos-bridge.db", image.folder));
    let files = image.files();
    let mut bridge = image.start(way, &config);
    eventually("all is copied", || !bridge.is_running() || pair.is_equal()).await;
    assert!(bridge.is_running(), "{}", bridge.log());

    // A user inside of a namespace has another id outside.
    if way != Way::Namespace {
        assert_eq!(status_of(&bridge, "Uid"), ["65532"; 4]);
        assert_eq!(status_of(&bridge, "Gid"), ["65532"; 4]);
        assert!(status_of(&bridge, "Groups").is_empty());
    }
    assert_eq!(status_of(&bridge, "NoNewPrivs"), ["1"]);
    for rights in ["CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status_of(&bridge, rights), ["0000000000000000"], "{rights}");
    }
    let root = std::fs::read_link(format!("/proc/{}/root", bridge.pid())).unwrap();
    assert_eq!(root, image.root);
    let environment = std::fs::read(format!("/proc/{}/environ", bridge.pid())).unwrap();
    assert_eq!(String::from_utf8(environment).unwrap(), "COSMOS_DISABLE_IMDS=1\0");

    bridge.terminate();
    let ended = bridge.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", ended.log);
    assert!(ended.log.contains(" stopped "), "{}", ended.log);
    let state = rusqlite::Connection::open(image.inside(&image.folder).join("cosmos-bridge.db"));
    let query = "SELECT count(*) FROM positions WHERE etag IS NOT NULL";
    let positions: i64 = state.unwrap().query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(positions, 1);
    assert_eq!(image.files(), files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_where_the_image_cannot_write_is_refused_with_a_reason() {
    let way = Way::here();
    let pair = Pair::alike().await;
    let config = pair.configure("", "", "", "");
    let image = Image::lay_out(pair.folder.path());
    let reason = match way {
        Way::Mounts | Way::Namespace => "Read-only file system (os error 30)",
        Way::Permissions => "Permission denied (os error 13)",
    };
    for state in ["/etc/cosmos-bridge/cosmos-bridge.db", "/cosmos-bridge.db"] {
        image.configure(&config, state);
        let files = image.files();
        Bridge::forget_log(&config);
        let ended = image.start(way, &config).ended().await;
        assert_eq!(ended.code(), Some(73), "{}", ended.log);
        let said = ended.last_words();
        for part in [state, reason, "hint: "] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(image.files(), files);
    }
}
