//! Over SSH: host keys, and keys to log in and to sign with.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::project::{Project, discreetly, gitlab};

#[test]
fn a_host_key_is_known_or_the_run_ends() {
    let project = Project::on_gitlab();
    let text = fs::read_to_string(&project.known_hosts).unwrap();
    let with = |hosts: &str, options: &[&str]| {
        let mut command = project.command(&project.url, "b", options);
        discreetly(command.env("SSH_KNOWN_HOSTS", hosts))
    };
    with("# none\n", &[]).ended(77).says("is not known").says("ssh-keyscan");
    let ed25519 = text.lines().find(|line| line.contains("ssh-ed25519")).unwrap();
    with(&format!("{text}@revoked * {}\n", ed25519.split_once(' ').unwrap().1), &[])
        .ended(77)
        .says("revoked");
    let key = project.home.path().join("other");
    project
        .home
        .program("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status()
        .unwrap();
    let other = fs::read_to_string(key.with_extension("pub")).unwrap();
    let host = ed25519.split(' ').next().unwrap();
    with(&format!("{host} {other}"), &[]).ended(77).says("has changed");
    assert_eq!(project.branch("b"), None);
    // Another of the server's keys is known.
    let ecdsa = text.lines().find(|line| line.contains("ecdsa")).unwrap();
    with(ecdsa, &[]).ended(0);
    // Names with wildcards, and one that is excepted.
    let (_, key_of_host) = ed25519.split_once(' ').unwrap();
    let port = host.rsplit(':').next().unwrap();
    with(&format!("[127.0.0.*]:{port},[git.test]:{port} {key_of_host}"), &[]).ended(0);
    with(&format!("[127.0.0.?]:{port},!{host} {key_of_host}"), &[]).ended(77).says("is not known");
    // The name without the port is the one of another server.
    with(&format!("127.0.0.1 {key_of_host}"), &[]).ended(77).says("is not known");
    // Hashed names.
    let hashed = project.home.path().join("hashed");
    fs::write(&hashed, ed25519).unwrap();
    project.home.program("ssh-keygen").args(["-q", "-H", "-f"]).arg(&hashed).output().unwrap();
    assert!(fs::read_to_string(&hashed).unwrap().starts_with("|1|"));
    with(hashed.to_str().unwrap(), &[]).ended(0);
    // A pinned key.
    let line = project.home.path().join("line");
    fs::write(&line, ed25519).unwrap();
    let listed = project.home.program("ssh-keygen").arg("-lf").arg(&line).output().unwrap();
    let fingerprint = String::from_utf8(listed.stdout).unwrap().split(' ').nth(1).unwrap().to_owned();
    with("# none\n", &["--host-key-fingerprint", &fingerprint]).ended(0);
    with(&text, &["--host-key-fingerprint", "SHA256:AAAA"]).ended(77).says("not the pinned");
}

#[test]
fn the_users_and_the_machines_host_keys_count() {
    let project = Project::on_gitlab();
    let users = project.home.path().join(".ssh");
    fs::create_dir(&users).unwrap();
    let inner = || {
        let mut command = project.command(&project.url, "b", &["--forge", "gitlab"]);
        command.env_remove("SSH_KNOWN_HOSTS");
        command
    };
    discreetly(&mut inner()).ended(77).says("is not known");
    fs::copy(&project.known_hosts, users.join("known_hosts")).unwrap();
    discreetly(&mut inner()).ended(0);
    // The machine's file, in a view of the file system of its own: it vouches, and it revokes.
    let text = fs::read_to_string(&project.known_hosts).unwrap();
    let revoked = format!("@revoked {}\n", text.trim_end().replace('\n', "\n@revoked "));
    for (machine, user, status) in [(&text, "", 0), (&revoked, text.as_str(), 77)] {
        let (global, inner) = (project.home.path().join("global"), inner());
        fs::write(&global, machine).unwrap();
        fs::write(users.join("known_hosts"), user).unwrap();
        let script = "mount -t tmpfs none /etc/ssh && cp \"$0\" /etc/ssh/ssh_known_hosts && exec \"$@\"";
        let mut command = project.home.program("unshare");
        command.args(["-m", "sh", "-c", script]).arg(&global).arg(inner.get_program()).args(inner.get_args());
        command.current_dir(project.temporary());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        discreetly(&mut command).ended(status);
    }
}

#[test]
fn keys_are_taken_as_people_paste_them() {
    let project = Project::on_gitlab();
    let text = fs::read_to_string(&project.key).unwrap();
    let with = |key: &str, passphrase: &str| {
        let mut command = project.command(&project.url, "b", &["--forge", "gitlab", "-vv"]);
        discreetly(command.env("SSH_PRIVATE_KEY", key).env("SSH_PRIVATE_KEY_PASSPHRASE", passphrase))
    };
    let pasted = with(text.replace('\n', "\r\n").trim_end(), "").ended(0);
    assert!(text.lines().filter(|line| !line.starts_with("---")).all(|line| !pasted.stderr.contains(line)));
    let encrypted = project.home.path().join("encrypted");
    fs::copy(&project.key, &encrypted).unwrap();
    let mut change = project.home.program("ssh-keygen");
    change.args(["-q", "-p", "-P", "", "-N", "open sesame", "-f"]).arg(&encrypted);
    assert!(change.status().unwrap().success());
    let path = encrypted.to_str().unwrap();
    with(path, "open sesame").ended(0);
    with(path, "").ended(77).says("it is encrypted");
    with(path, "wrong").ended(77).says("does not decrypt it");
    let stranger = project.home.path().join("stranger");
    project
        .home
        .program("ssh-keygen")
        .args(["-q", "-t", "rsa", "-N", "", "-f"])
        .arg(&stranger)
        .status()
        .unwrap();
    with(stranger.to_str().unwrap(), "").ended(77).says("accepts none of the keys: SSH_PRIVATE_KEY");
    with("", "").ended(77).says("no SSH key");
}

#[test]
fn an_agent_holds_the_key() {
    let project = Project::on_gitlab();
    let script = format!(
        "eval $(ssh-agent) >&2; ssh-add -q {}; unset SSH_PRIVATE_KEY; \"$@\"; status=$?; ssh-agent -k >&2; exit $status",
        project.key
    );
    let inner = project.command(&project.url, "b", &["--forge", "gitlab"]);
    let mut command = project.home.program("sh");
    command.args(["-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.env("SSH_KNOWN_HOSTS", &project.known_hosts).current_dir(project.temporary());
    discreetly(&mut command).ended(0);
}

#[test]
fn a_signed_commit_verifies_and_is_the_same_again() {
    let project = Project::on_gitlab();
    for (kind, passphrase) in [("ed25519", ""), ("ecdsa", "open sesame")] {
        let key = project.home.path().join(kind);
        let mut make = project.home.program("ssh-keygen");
        make.args(["-q", "-t", kind, "-N", passphrase, "-f"]).arg(&key);
        assert!(make.status().unwrap().success());
        let options = ["--forge", "gitlab", "--sign-key", key.to_str().unwrap()];
        let run = || {
            let mut command = project.command(&project.url, kind, &options);
            discreetly(command.env("MR_PUSH_SIGN_KEY_PASSPHRASE", passphrase))
        };
        run().ended(0);
        let first = project.branch(kind);
        run().ended(0);
        assert_eq!(project.branch(kind), first);
        let signers = project.home.path().join("signers");
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        fs::write(&signers, format!("author@example.invalid {public}")).unwrap();
        let allowed = format!("gpg.ssh.allowedSignersFile={}", signers.display());
        let repository = project.repository();
        project.git("work", &["-c", &allowed, "-C", repository.to_str().unwrap(), "verify-commit", kind]);
    }
}

#[test]
fn keys_of_every_kind_log_in() {
    let project = Project::on_gitlab();
    let keys = Path::new(&gitlab()["GIT_SSH_ROOT"]).with_file_name("authorized_keys");
    let before = fs::read_to_string(&keys).unwrap();
    let restriction = before.split_once(" ssh-ed25519 ").unwrap().0;
    for (kind, bits, format) in [
        ("ecdsa", "256", "RFC4716"),
        ("ecdsa", "521", "PEM"),
        ("rsa", "2048", "PEM"),
        ("rsa", "3072", "RFC4716"),
    ] {
        let key = project.home.path().join(format!("{kind}-{bits}"));
        let mut make = project.home.program("ssh-keygen");
        make.args(["-q", "-t", kind, "-b", bits, "-m", format, "-N", "", "-f"]).arg(&key);
        assert!(make.status().unwrap().success());
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let mut file = fs::OpenOptions::new().append(true).open(&keys).unwrap();
        file.write_all(format!("{restriction} {public}").as_bytes()).unwrap();
        let mut command = project.command(&project.url, &format!("{kind}-{bits}"), &["--forge", "gitlab"]);
        discreetly(command.env("SSH_PRIVATE_KEY", fs::read_to_string(&key).unwrap())).ended(0);
    }
}

/// A server beside the one that is there, which accepts no variables: Git speaks version 0 with it.
struct Sshd(Child);

impl Sshd {
    fn without_variables(project: &Project) -> (Self, u16) {
        let state = Path::new(&gitlab()["GIT_SSH_ROOT"]).parent().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let lines = fs::read_to_string(state.join("sshd_config")).unwrap();
        let kept = lines
            .lines()
            .filter(|line| !line.starts_with("AcceptEnv ") && !line.starts_with("ListenAddress "));
        let kept = kept.collect::<Vec<_>>().join("\n");
        let config = project.home.path().join("sshd_config");
        fs::write(&config, format!("ListenAddress 127.0.0.1:{free}\n{kept}\n")).unwrap();
        let mut sshd = project.home.program("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f"]).arg(&config).stderr(Stdio::null());
        let mut running = Self(sshd.spawn().unwrap());
        while TcpStream::connect(("127.0.0.1", free)).is_err() {
            assert_eq!(running.0.try_wait().unwrap(), None, "sshd has ended");
            std::thread::yield_now();
        }
        (running, free)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

#[test]
fn a_server_that_takes_no_variables_speaks_the_old_protocol() {
    let project = Project::on_gitlab();
    let (_sshd, port) = Sshd::without_variables(&project);
    let known = fs::read_to_string(&project.known_hosts).unwrap();
    let usual = project.url.rsplit(':').next().unwrap().split('/').next().unwrap();
    let url = project.url.replace(&format!(":{usual}/"), &format!(":{port}/"));
    let hosts = known.replace(&format!("]:{usual} "), &format!("]:{port} "));
    let run = |url: &str, options: &[&str]| {
        let mut command =
            project.command(url, "b", &[&["--forge", "gitlab", "-o", "json"], options].concat());
        discreetly(command.env("SSH_KNOWN_HOSTS", &hosts))
    };
    let told: serde_json::Value = serde_json::from_str(&run(&url, &[]).ended(0).stdout).unwrap();
    assert_eq!((&told["transfer"], &told["changed"]), (&"blobless".into(), &true.into()));
    let again: serde_json::Value = serde_json::from_str(&run(&url, &[]).ended(0).stdout).unwrap();
    assert_eq!((&again["commit"], &again["changed"]), (&told["commit"], &false.into()));
    let missing = url.replace(&project.name, "team/nothing");
    assert!(run(&missing, &[]).ended(2).stdout.contains("could not be found"));
}
