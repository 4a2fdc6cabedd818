//! Debian's chromium without a window, spoken to in its own protocol over two pipes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::LONG;

/// A browser with one tab.
pub(crate) struct Browser {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: Value,
    next: u64,
    /// What happened that nobody waited for.
    events: Vec<Value>,
    _profile: TempDir,
}

/// The only browser that a page may need.
const CHROMIUM: &str = "chromium";
/// The protocol's pipes are descriptors 3 and 4, which a shell can open without a word of C.
const START: &str = "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
    --disable-background-networking --disable-component-update --remote-debugging-pipe --user-data-dir=\"$1\" \
    about:blank 3<&0 4>&1 </dev/null >/dev/null";

impl Browser {
    pub(crate) fn start() -> Self {
        install();
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", START, CHROMIUM])
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (requests, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut browser = Self {
            child,
            requests,
            answers,
            session: Value::Null,
            next: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let tab = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let tab = json!({ "targetId": tab["targetId"], "flatten": true });
        browser.session = browser.ask("Target.attachToTarget", tab)["sessionId"].take();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut request = json!({ "id": self.next, "method": method });
        request["params"] = parameters;
        if self.session.is_string() {
            request["sessionId"] = self.session.clone();
        }
        self.requests.write_all(format!("{request}\0").as_bytes()).unwrap();
        loop {
            let mut answer = self.read();
            if answer["id"] == self.next {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.answers.read_until(0, &mut bytes).unwrap();
        serde_json::from_slice(bytes.strip_suffix(&[0]).unwrap_or(&bytes)).unwrap()
    }

    /// Opens a page and waits until it is there.
    pub(crate) fn open(&mut self, url: &str) {
        self.ask("Page.navigate", json!({ "url": url }));
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// What an expression in the page is.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let how = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.ask("Runtime.evaluate", how);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// Waits until an expression in the page is true.
    pub(crate) fn until(&mut self, expression: &str) {
        let begin = Instant::now();
        while self.value(expression) != true {
            if begin.elapsed() > LONG {
                let page = self.value("document.documentElement.outerHTML");
                panic!("never true: {expression}\n{}", page.as_str().unwrap_or_default());
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Presses a key, as a person would.
    pub(crate) fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            " " => 32,
            other => panic!("no code for {other}"),
        };
        let text = match key {
            "Enter" => "\r",
            "Tab" => "",
            other => other,
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = Value::from(text);
            }
            self.ask("Input.dispatchKeyEvent", event);
        }
    }

    /// Makes the window as wide as this, in CSS pixels.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 500 });
        self.ask("Emulation.setDeviceMetricsOverride", size);
    }

    /// Shows pages as somebody who likes them dark sees them.
    pub(crate) fn darken(&mut self) {
        let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
        self.ask("Emulation.setEmulatedMedia", dark);
    }

    /// A picture of the whole page, where `BROWSER_PICTURES` names a folder for it.
    pub(crate) fn picture(&mut self, name: &str) {
        use base64::Engine as _;
        #[expect(clippy::disallowed_methods, reason = "no tool reads it")]
        let Some(folder) = std::env::var_os("BROWSER_PICTURES") else { return };
        let taken = self.ask("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
    }

    /// What the browser complained of, and every address that it asked for.
    pub(crate) fn complaints_and_addresses(&mut self) -> (Vec<String>, Vec<String>) {
        self.value("1");
        let complaint = |event: &Value| match event["method"].as_str() {
            Some("Log.entryAdded") => Some(event["params"]["entry"]["text"].to_string()),
            Some("Runtime.exceptionThrown") => Some(event["params"]["exceptionDetails"].to_string()),
            _ => None,
        };
        let address = |event: &Value| {
            let url = event["params"]["request"]["url"].as_str().map(ToOwned::to_owned);
            url.filter(|_| event["method"] == "Network.requestWillBeSent")
        };
        (self.events.iter().filter_map(complaint).collect(), self.events.iter().filter_map(address).collect())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Installs the browser where it is not there yet.
fn install() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/services/supervise.sh");
    let words = "source \"$0\" && need_packages chromium:chromium";
    let done = Command::new("bash").args(["-c", words, script]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
