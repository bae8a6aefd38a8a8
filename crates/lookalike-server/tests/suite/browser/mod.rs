//! A browser for tests: Chromium, driven by its DevTools protocol.
//!
//! Nothing here sleeps and hopes: [`Page::wait`] asks the page again and again until something is
//! so.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// How long anything is waited for. Nothing takes that long, unless others need all of the machine.
const LIMIT: Duration = Duration::from_secs(30);
/// How often the page is asked meanwhile.
const PACE: Duration = Duration::from_millis(25);
/// A window on a desk, and that of a small phone, in CSS pixels.
const DESK: (u32, u32) = (1_280, 800);
pub const PHONE: (u32, u32) = (360, 740);
/// Whether what lies at a place of the window is an element or inside of it, in the page's
/// language.
const IS_HIT: &str =
    "((node, [x, y]) => node !== null && node.contains(document.elementFromPoint(x, y)))";
/// Lets presses and clicks come to `node` only, until one has or `unguard` is called, which says
/// whether one has. Between a look at where something is and the click much may move, when others
/// need the machine.
const GUARD: &str = "(() => { \
    const guard = new AbortController(); \
    let arrived = false; \
    for (const kind of ['pointerdown', 'mousedown', 'click']) addEventListener(kind, (event) => { \
        const isOwn = event.composedPath().includes(node); \
        if (isOwn && kind === 'click') arrived = true; \
        if (isOwn || arrived) return; \
        event.preventDefault(); event.stopImmediatePropagation(); \
    }, { capture: true, signal: guard.signal }); \
    window.unguard = () => { guard.abort(); delete window.unguard; return arrived; }; \
    return true; })()";
/// Names that Chromium goes by.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// A running Chromium, ended when this is dropped.
pub struct Browser {
    process: Child,
    port: u16,
    wire: Mutex<Wire>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// The one that other tests use at this moment, or a new one.
    fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Browser>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let browser = Arc::new(Self::start());
            *running = Arc::downgrade(&browser);
            browser
        })
    }

    fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new(program())
            .args([
                "--headless",
                // Those who test in containers are often root, for whom there is no sandbox; only
                // our own page is opened.
                "--no-sandbox",
                "--remote-debugging-port=0",
                "--no-first-run",
                "--disable-extensions",
                "--disable-dev-shm-usage",
                // The map's WebGL, on any machine.
                "--use-angle=swiftshader",
                "--enable-unsafe-swiftshader",
                // Without a screen there is no mouse either, unless it is said.
                "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", program().display()));
        let file = profile.path().join("DevToolsActivePort");
        let end = Instant::now() + LIMIT;
        let (port, path) = loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if let Some((port, path)) = text.split_once('\n') {
                break (port.parse().unwrap(), path.trim().to_owned());
            }
            if let Some(status) = process.try_wait().unwrap() {
                panic!("{} ended at once, with {status}", program().display());
            }
            assert!(Instant::now() < end, "Chromium does not come up");
            std::thread::sleep(PACE);
        };
        Self {
            process,
            port,
            wire: Mutex::new(Wire::connect(port, &path)),
            _profile: profile,
        }
    }

    fn call(&self, method: &str, parameters: Value) -> Result<Value, String> {
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        wire.call(method, parameters)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where Chromium is.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return named.into();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let places =
        std::env::split_paths(&folders).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    places.into_iter().find(|place| place.is_file()).unwrap_or_else(|| {
        panic!("the page is tested in Chromium, and there is none: install it (apt-get install chromium), or say where it is in CHROMIUM")
    })
}

/// A connection to the browser, or to a page in it.
struct Wire {
    socket: WebSocket<TcpStream>,
    last: u64,
    /// What went wrong in the page meanwhile.
    troubles: Vec<String>,
}

impl Wire {
    fn connect(port: u16, path: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(2 * LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        let address = format!("ws://127.0.0.1:{port}{path}");
        let (socket, _) = tungstenite::client(address, stream).unwrap();
        Self {
            socket,
            last: 0,
            troubles: Vec::new(),
        }
    }

    /// Asks for something, and waits for its answer.
    fn call(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.last += 1;
        let id = self.last;
        let text = json!({"id": id, "method": method, "params": parameters}).to_string();
        self.socket.send(Message::text(text)).unwrap();
        loop {
            let message = self.socket.read();
            let message = message.unwrap_or_else(|error| panic!("no answer to {method}: {error}"));
            let Message::Text(text) = message else {
                continue;
            };
            let mut answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] != id {
                self.troubles.extend(trouble(&answer));
            } else if let Some(error) = answer.get("error") {
                return Err(format!("{method}: {error}"));
            } else {
                return Ok(answer["result"].take());
            }
        }
    }
}

/// What an event says that should not have happened.
fn trouble(event: &Value) -> Option<String> {
    let told = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => {
            let details = &told["exceptionDetails"];
            let said = details["exception"]["description"].as_str();
            Some(format!(
                "uncaught: {}",
                said.unwrap_or(&details["text"].to_string())
            ))
        }
        "Runtime.consoleAPICalled"
            if ["error", "assert", "warning"].contains(&told["type"].as_str()?) =>
        {
            Some(format!("console: {}", told["args"]))
        }
        // Refused by the content security policy, not found, deprecated …
        "Log.entryAdded" if ["error", "warning"].contains(&told["entry"]["level"].as_str()?) => {
            let entry = &told["entry"];
            let (text, url) = (
                entry["text"].as_str()?,
                entry["url"].as_str().unwrap_or_default(),
            );
            Some(format!("{} ({url})", text))
        }
        "Inspector.targetCrashed" => Some("the page crashed".to_owned()),
        _ => None,
    }
}

/// A page in a window of its own, which shares nothing with others: no cookies, no cache, no
/// history.
///
/// When it is dropped, nothing unexpected may have gone wrong in it.
pub struct Page {
    browser: Arc<Browser>,
    context: String,
    wire: RefCell<Wire>,
    origin: String,
    expected: RefCell<BTreeSet<&'static str>>,
}

impl Page {
    /// An empty page for a server, `http://…` without a slash at the end.
    pub fn new(origin: String) -> Self {
        Self::sized(origin, DESK, false)
    }

    /// The same on a small phone.
    pub fn on_phone(origin: String) -> Self {
        Self::sized(origin, PHONE, true)
    }

    fn sized(origin: String, (width, height): (u32, u32), mobile: bool) -> Self {
        let browser = Browser::shared();
        let made = browser
            .call("Target.createBrowserContext", json!({}))
            .unwrap();
        let context = text_of(&made["browserContextId"]);
        let window = json!({"url": "about:blank", "browserContextId": context});
        let target = browser.call("Target.createTarget", window).unwrap();
        let path = format!("/devtools/page/{}", text_of(&target["targetId"]));
        let page = Self {
            wire: RefCell::new(Wire::connect(browser.port, &path)),
            browser,
            context,
            origin,
            expected: RefCell::default(),
        };
        for domain in ["Page", "Runtime", "Log"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        let scale = if mobile { 2 } else { 1 };
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile});
        page.call("Emulation.setDeviceMetricsOverride", metrics);
        let touch = json!({"enabled": mobile, "maxTouchPoints": 5});
        page.call("Emulation.setTouchEmulationEnabled", touch);
        // Several pages at a time, and each takes itself to be looked at.
        page.call(
            "Emulation.setFocusEmulationEnabled",
            json!({"enabled": true}),
        );
        page
    }

    /// Prefers dark colours.
    pub fn dark(self) -> Self {
        let features = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
        self
    }

    /// Says that something may go wrong whose message has this in it.
    pub fn expect(&self, text: &'static str) {
        self.expected.borrow_mut().insert(text);
    }

    /// A command of the DevTools protocol.
    pub fn call(&self, method: &str, parameters: Value) -> Value {
        let answer = self.wire.borrow_mut().call(method, parameters);
        answer.unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_eval(&self, script: &str) -> Result<Value, String> {
        let evaluation = json!({"expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let mut answer = self
            .wire
            .borrow_mut()
            .call("Runtime.evaluate", evaluation)?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(format!("{}", details["exception"]["description"])),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// The value of an expression, or of the promise that it is.
    #[track_caller]
    pub fn eval(&self, script: &str) -> Value {
        self.try_eval(script)
            .unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Waits until an expression is true, or anything else that counts as it, and gives it.
    #[track_caller]
    pub fn wait(&self, condition: &str) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            // Elements may not be there yet, and pages may just be changing.
            let value = self.try_eval(condition).unwrap_or_default();
            let is_so = match &value {
                Value::Null => false,
                Value::Bool(is_so) => *is_so,
                Value::Number(number) => number.as_f64() != Some(0.0),
                Value::String(text) => !text.is_empty(),
                _ => true,
            };
            if is_so {
                return value;
            }
            if Instant::now() > end {
                self.screenshot("failed");
                let shown = self.try_eval("[location.href, document.body.innerText.slice(0, 600)]");
                panic!(
                    "never so: {condition}\nat {shown:?}\ntroubles: {:?}",
                    self.wire.borrow().troubles
                );
            }
            std::thread::sleep(PACE);
        }
    }

    /// Opens an address of the server.
    #[track_caller]
    pub fn open(&self, path: &str) {
        self.call(
            "Page.navigate",
            json!({"url": format!("{}{path}", self.origin)}),
        );
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete' && document.querySelector('#main > *') !== null");
    }

    /// Path and query of the address.
    pub fn address(&self) -> String {
        text_of(&self.eval("location.pathname + location.search"))
    }

    /// Waits until the address has this in it.
    #[track_caller]
    pub fn wait_address(&self, part: &str) {
        self.wait(&format!(
            "(location.pathname + location.search).includes({})",
            json!(part)
        ));
    }

    /// Waits until an element is there and to be seen.
    #[track_caller]
    pub fn wait_for(&self, selector: &str) {
        self.wait(&format!(
            "document.querySelector({}).checkVisibility()",
            json!(selector)
        ));
    }

    /// What an element says.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        text_of(&self.wait(&format!(
            "document.querySelector({}).textContent",
            json!(selector)
        )))
    }

    pub fn count(&self, selector: &str) -> usize {
        let count = self.eval(&format!(
            "document.querySelectorAll({}).length",
            json!(selector)
        ));
        usize::try_from(count.as_u64().unwrap()).unwrap()
    }

    /// Whether the element with the focus matches a selector.
    pub fn has_focus(&self, selector: &str) -> bool {
        self.eval(&format!(
            "document.activeElement.matches({})",
            json!(selector)
        )) == true
    }

    /// Waits until nothing is being asked for, but for the token, and nothing moves.
    #[track_caller]
    pub fn rest(&self) {
        self.wait(
            "(!document.documentElement.classList.contains('busy') || document.querySelector('dialog#token') !== null) \
             && document.getAnimations().every((one) => one.playState !== 'running' || one.effect.target.id === 'busy') \
             && [...document.images].every((one) => one.complete || one.loading === 'lazy')",
        );
    }

    // Pointer.

    /// Left, top, width and height of an element, in the window.
    #[track_caller]
    pub fn place(&self, selector: &str) -> [f64; 4] {
        let script = format!(
            "(() => {{ const {{ x, y, width, height }} = document.querySelector({}).getBoundingClientRect(); return [x, y, width, height]; }})()",
            json!(selector)
        );
        numbers(&self.wait(&script))
    }

    /// The middle of an element once it can be hit there: in the window, at rest, and with nothing
    /// before it.
    #[track_caller]
    fn middle(&self, selector: &str) -> (f64, f64) {
        let script = format!(
            "(() => {{ const node = document.querySelector({}); const isHit = {IS_HIT}; \
             const middle = () => {{ const {{ x, y, width, height }} = node.getBoundingClientRect(); return [x + width / 2, y + height / 2]; }}; \
             if (!isHit(node, middle())) node.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
             return isHit(node, middle()) ? middle() : null; }})()",
            json!(selector)
        );
        let mut before = None;
        loop {
            let middle: [f64; 2] = numbers(&self.wait(&script));
            if before == Some(middle) {
                return (middle[0], middle[1]);
            }
            before = Some(middle);
        }
    }

    fn mouse(&self, kind: &str, (x, y): (f64, f64)) {
        let pressed = kind != "mouseMoved";
        let event = json!({"type": kind, "x": x, "y": y, "button": if pressed { "left" } else { "none" }, "clickCount": i32::from(pressed)});
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Brings the pointer onto an element.
    #[track_caller]
    pub fn hover(&self, selector: &str) {
        self.until_hit(selector, "true", |_| true);
    }

    pub fn hover_at(&self, at: (f64, f64)) {
        self.mouse("mouseMoved", at);
    }

    /// Clicks on an element, and on nothing else.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        self.until_hit(selector, GUARD, |at| {
            self.press_at(at);
            // Where the guard is gone or nobody answers, the click has led to another page.
            self.try_eval("window.unguard?.() ?? true")
                .map_or(true, |arrived| arrived == true)
        });
    }

    /// Brings the pointer onto an element, runs a script about it (`node`) and does something
    /// there; all of it again if what comes late, a picture or an answer, has moved the element
    /// meanwhile.
    #[track_caller]
    fn until_hit(&self, selector: &str, script: &str, act: impl Fn((f64, f64)) -> bool) {
        for _ in 0..50 {
            let at = self.middle(selector);
            self.hover_at(at);
            let script = format!(
                "(() => {{ const node = document.querySelector({}); return {IS_HIT}(node, {}) && {script}; }})()",
                json!(selector),
                json!([at.0, at.1])
            );
            if self.try_eval(&script).is_ok_and(|hit| hit == true) && act(at) {
                return;
            }
        }
        panic!("{selector} never stays where it is");
    }

    pub fn click_at(&self, at: (f64, f64)) {
        self.mouse("mouseMoved", at);
        self.press_at(at);
    }

    fn press_at(&self, at: (f64, f64)) {
        self.mouse("mousePressed", at);
        self.mouse("mouseReleased", at);
    }

    /// Presses the button at the first of some places, and releases it at the last.
    pub fn drag(&self, path: &[(f64, f64)]) {
        self.drag_slowly(path, Duration::ZERO);
    }

    /// The same, resting for a while before the end of each stretch.
    pub fn drag_slowly(&self, path: &[(f64, f64)], rest: Duration) {
        self.mouse("mouseMoved", path[0]);
        self.mouse("mousePressed", path[0]);
        for pair in path.windows(2) {
            for step in 1..=6 {
                if step == 6 {
                    std::thread::sleep(rest);
                }
                let share = f64::from(step) / 6.0;
                let between = |from: f64, to: f64| from + (to - from) * share;
                let at = (between(pair[0].0, pair[1].0), between(pair[0].1, pair[1].1));
                let event = json!({"type": "mouseMoved", "x": at.0, "y": at.1, "button": "left", "buttons": 1});
                self.call("Input.dispatchMouseEvent", event);
            }
        }
        self.mouse("mouseReleased", path[path.len() - 1]);
    }

    /// Scrolls with the wheel, or zooms where that is what it does.
    pub fn wheel(&self, (x, y): (f64, f64), down: f64) {
        let event = json!({"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": down});
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Fingers go down, move and are lifted; each of `path` has a place for each finger.
    pub fn touch(&self, path: &[&[(f64, f64)]]) {
        for (step, fingers) in path.iter().enumerate() {
            let points: Vec<Value> = fingers
                .iter()
                .enumerate()
                .map(|(id, (x, y))| json!({"id": id, "x": x, "y": y}))
                .collect();
            let kind = if step == 0 { "touchStart" } else { "touchMove" };
            self.call(
                "Input.dispatchTouchEvent",
                json!({"type": kind, "touchPoints": points}),
            );
        }
        self.call(
            "Input.dispatchTouchEvent",
            json!({"type": "touchEnd", "touchPoints": []}),
        );
    }

    #[track_caller]
    pub fn tap(&self, selector: &str) {
        let at = self.middle(selector);
        self.touch(&[&[at]]);
    }

    // Keys.

    /// Presses a key, such as `Enter`, `a`, `Shift+ArrowDown`.
    pub fn press(&self, chord: &str) {
        let (modifiers, key) = match chord.rsplit_once('+') {
            Some((modifier, key)) if !key.is_empty() => (modifier, key),
            _ => ("", chord),
        };
        let modifiers = match modifiers {
            "" => 0,
            "Control" => 2,
            "Shift" => 8,
            other => panic!("no such modifier here: {other}"),
        };
        let (code, number, text) = match key {
            "Enter" => ("Enter", 13, "\r"),
            "Tab" => ("Tab", 9, ""),
            "Escape" => ("Escape", 27, ""),
            " " => ("Space", 32, " "),
            "ArrowLeft" => ("ArrowLeft", 37, ""),
            "ArrowUp" => ("ArrowUp", 38, ""),
            "ArrowRight" => ("ArrowRight", 39, ""),
            "ArrowDown" => ("ArrowDown", 40, ""),
            "Home" => ("Home", 36, ""),
            "Delete" => ("Delete", 46, ""),
            "+" => ("NumpadAdd", 107, "+"),
            "0" => ("Digit0", 48, "0"),
            "v" => ("KeyV", 86, ""),
            other => panic!("no such key here: {other}"),
        };
        let commands = if chord == "Control+v" {
            json!(["paste"])
        } else {
            json!([])
        };
        let kind = if text.is_empty() {
            "rawKeyDown"
        } else {
            "keyDown"
        };
        let event = |kind: &str| json!({"type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers});
        let mut down = event(kind);
        down["text"] = json!(text);
        down["commands"] = commands;
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", event("keyUp"));
    }

    /// Types into what has the focus.
    pub fn type_in(&self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Goes on with the tabulator until something has the focus.
    #[track_caller]
    pub fn tab_to(&self, selector: &str) {
        for _ in 0..150 {
            self.press("Tab");
            if self.has_focus(selector) {
                return;
            }
        }
        panic!("the tabulator does not lead to {selector}");
    }

    // Files.

    /// Drags files from the desktop onto an element.
    #[track_caller]
    pub fn drop_files(&self, selector: &str, files: &[&Path]) {
        let (x, y) = self.middle(selector);
        let data = json!({"items": [], "files": files, "dragOperationsMask": 1});
        for kind in ["dragEnter", "dragOver", "drop"] {
            self.call(
                "Input.dispatchDragEvent",
                json!({"type": kind, "x": x, "y": y, "data": data}),
            );
        }
    }

    /// Chooses files, as in the dialog of an input.
    #[track_caller]
    pub fn choose(&self, selector: &str, files: &[&Path]) {
        let script = format!("document.querySelector({})", json!(selector));
        let found = self.call("Runtime.evaluate", json!({"expression": script}));
        let object = &found["result"]["objectId"];
        assert!(object.is_string(), "there is no {selector}");
        self.call(
            "DOM.setFileInputFiles",
            json!({"files": files, "objectId": object}),
        );
    }

    /// Copies a picture, PNG, and pastes it.
    pub fn paste(&self, png: &[u8]) {
        let grant = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "browserContextId": self.context});
        self.browser
            .call("Browser.grantPermissions", grant)
            .unwrap();
        self.eval(&format!(
            "navigator.clipboard.write([new ClipboardItem({{ 'image/png': new Blob([new Uint8Array({})], {{ type: 'image/png' }}) }})])",
            json!(png)
        ));
        self.press("Control+v");
    }

    // Looking.

    /// Keeps a picture of the window, if LOOKALIKE_SCREENSHOTS names a folder for them.
    pub fn screenshot(&self, name: &str) {
        let Some(folder) = std::env::var_os("LOOKALIKE_SCREENSHOTS").map(PathBuf::from) else {
            return;
        };
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        std::fs::create_dir_all(&folder).unwrap();
        let png = from_base64(shot["data"].as_str().unwrap());
        std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
    }

    /// Fails if axe finds something that keeps people from using what is shown.
    #[track_caller]
    pub fn check_accessible(&self, what: &str) {
        self.rest();
        if self.eval("typeof axe") == "undefined" {
            self.eval(concat!(include_str!("../../axe/axe.min.js"), "; 0"));
        }
        let found = self.eval(
            "axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations.filter(({ impact }) => impact === 'serious' || impact === 'critical') \
             .map(({ id, help, nodes }) => [id, help, ...nodes.slice(0, 5).map(({ target, failureSummary }) => `${target.join(' ')}: ${failureSummary}`)]))",
        );
        assert_eq!(found, json!([]), "{what}");
    }

    /// Whether the page is as wide as the window.
    #[track_caller]
    pub fn check_width(&self, what: &str) {
        let widths: [f64; 2] =
            numbers(&self.eval("[document.documentElement.scrollWidth, innerWidth]"));
        assert!(
            widths[0] <= widths[1],
            "{what} is {} wide in {}",
            widths[0],
            widths[1]
        );
    }

    /// What went wrong without being expected.
    fn unexpected(&self) -> Vec<String> {
        // What was said before this is here when it is answered.
        let _ = self.try_eval("0");
        let expected = self.expected.borrow();
        let troubles = std::mem::take(&mut self.wire.borrow_mut().troubles);
        let is_unexpected = |trouble: &String| !expected.iter().any(|part| trouble.contains(part));
        troubles.into_iter().filter(is_unexpected).collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let unexpected = self.unexpected();
        let context = json!({"browserContextId": self.context});
        let _ = self.browser.call("Target.disposeBrowserContext", context);
        assert!(unexpected.is_empty(), "in the page: {unexpected:#?}");
    }
}

#[track_caller]
fn text_of(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

#[track_caller]
fn numbers<const N: usize>(value: &Value) -> [f64; N] {
    let numbers: Option<Vec<f64>> = value
        .as_array()
        .and_then(|all| all.iter().map(Value::as_f64).collect());
    numbers
        .and_then(|all| all.try_into().ok())
        .unwrap_or_else(|| panic!("not {N} numbers: {value}"))
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = text.bytes().filter(|letter| *letter != b'=').collect();
    let bytes = letters.chunks(4).flat_map(|four| {
        let bits = four
            .iter()
            .fold(0u32, |bits, letter| bits << 6 | u32::from(value(*letter)));
        let bits = bits << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}
