//! The page of answers: a model, a picture, and what the model says about it.
//!
//! Owns the two opened files and the run in progress. The run is the core's, on a
//! thread of its own; this page only hands it a socket and shows what it tells.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

use adw::prelude::*;
use gtk::{gio, glib};
use hasher_monitor_core::{
    Answer, CallError, ClassifyError, Effort, LoadedModel, Mirror, OpenedFile, Picture, Plan,
    Progress, Waiting, classify,
};

use crate::advice_view::toast;
use crate::answer_view::AnswerView;
use crate::bus::Daemon;
use crate::digit_area::DigitArea;
use crate::fact_list::FactList;

/// Messages of a run that wait for the window; there is one an anchor.
const PROGRESS_MAX: usize = 512;

/// What the page says about devices, whatever the answer.
const NOTE: &str = "A device only searches the nonces of the anchors. The network itself is always \
    computed by this computer's CPU, and no device makes it faster.";

/// The page. Clones are the same.
#[derive(Clone)]
pub struct ClassifyPage {
    /// To be placed in the window.
    pub widget: gtk::ScrolledWindow,
    inner: Rc<Inner>,
}

struct Inner {
    daemon: Daemon,
    model_row: adw::ActionRow,
    work_row: adw::ActionRow,
    work: gtk::Switch,
    digit: DigitArea,
    picture_name: gtk::Label,
    answer: AnswerView,
    facts: FactList,
    model: RefCell<Option<LoadedModel>>,
    picture: RefCell<Option<Picture>>,
    samples: RefCell<Vec<Picture>>,
    next_sample: Cell<usize>,
    /// Zero bits that the devices find at their own pace; nothing when none is ready.
    zero_bits: Cell<Option<u32>>,
    waiting: RefCell<Option<Waiting>>,
    /// Number of the newest run: what an older one says is not shown.
    run: Cell<u64>,
    actions: Actions,
}

/// What a person can do on this page.
struct Actions {
    classify: gio::SimpleAction,
    cancel: gio::SimpleAction,
}

/// How a run came to its end without an answer.
enum Failure {
    Call(CallError),
    Run(ClassifyError),
    Thread,
}

impl ClassifyPage {
    /// The page without files; its actions are added to `window`.
    pub fn new(daemon: Daemon, window: &adw::ApplicationWindow) -> Self {
        let page = Self {
            widget: gtk::ScrolledWindow::builder()
                .hscrollbar_policy(gtk::PolicyType::Never)
                .build(),
            inner: Rc::new(Inner {
                daemon,
                model_row: adw::ActionRow::new(),
                work_row: adw::ActionRow::new(),
                work: gtk::Switch::new(),
                digit: DigitArea::new(),
                picture_name: gtk::Label::new(None),
                answer: AnswerView::new(),
                facts: FactList::new("Who computed what"),
                model: RefCell::default(),
                picture: RefCell::default(),
                samples: RefCell::default(),
                next_sample: Cell::new(0),
                zero_bits: Cell::new(None),
                waiting: RefCell::default(),
                run: Cell::new(0),
                actions: Actions {
                    classify: gio::SimpleAction::new("classify", None),
                    cancel: gio::SimpleAction::new("cancel", None),
                },
            }),
        };
        page.arrange();
        page.add_actions(window);
        page.show_model();
        page.show_picture();
        page.show_work();
        page.clear_answer();
        page
    }

    /// Takes note of which devices could find anchors.
    pub fn follow(&self, mirror: &Mirror) {
        let devices = mirror.devices().map(|(_, device)| device);
        let zero_bits = Effort::natural_zero_bits(devices);
        if self.inner.zero_bits.replace(zero_bits) != zero_bits {
            self.show_work();
        }
    }

    /// Opens a model or a picture, told apart by its content.
    pub fn open(&self, path: PathBuf) {
        let page = self.clone();
        glib::spawn_future_local(async move {
            let opened = gio::spawn_blocking(move || OpenedFile::open(&path)).await;
            match opened {
                Ok(Ok(OpenedFile::Model(model))) => {
                    page.inner.model.replace(Some(model));
                    page.show_model();
                    page.clear_answer();
                }
                Ok(Ok(OpenedFile::Picture(picture))) => page.take_picture(picture),
                Ok(Err(error)) => page.complain(&error.for_people()),
                Err(_) => page.complain("Cannot read the file: the app failed inside"),
            }
        });
    }

    fn arrange(&self) {
        let inner = &self.inner;
        let open_model = action_button("Open Model…", "win.open-model");
        open_model.set_valign(gtk::Align::Center);
        inner.model_row.set_subtitle_lines(2);
        inner.model_row.add_suffix(&open_model);
        inner.work_row.set_title("Let a device find the anchors");
        inner.work_row.set_subtitle_lines(2);
        inner.work.set_valign(gtk::Align::Center);
        inner.work.set_active(true);
        inner.work_row.add_suffix(&inner.work);
        inner.work_row.set_activatable_widget(Some(&inner.work));
        let group = adw::PreferencesGroup::builder().title("Model").build();
        group.add(&inner.model_row);
        group.add(&inner.work_row);

        let cards = gtk::FlowBox::builder()
            .selection_mode(gtk::SelectionMode::None)
            .homogeneous(true)
            .min_children_per_line(1)
            .max_children_per_line(2)
            .column_spacing(18)
            .row_spacing(18)
            .build();
        cards.set_vexpand(false);
        cards.append(&flow_child(&self.picture_card()));
        inner.answer.widget().add_css_class("card");
        inner.answer.widget().add_css_class("panel");
        inner.answer.widget().set_width_request(300);
        cards.append(&flow_child(inner.answer.widget()));

        let note = gtk::Label::builder()
            .label(NOTE)
            .wrap(true)
            .xalign(0.0)
            .build();
        note.add_css_class("dim-label");
        note.add_css_class("caption");
        let column = gtk::Box::new(gtk::Orientation::Vertical, 18);
        column.append(&group);
        column.append(&cards);
        column.append(&inner.facts.widget);
        column.append(&note);
        let clamp = adw::Clamp::builder()
            .maximum_size(760)
            .margin_top(24)
            .margin_bottom(24)
            .margin_start(18)
            .margin_end(18)
            .child(&column)
            .build();
        self.widget.set_child(Some(&clamp));
    }

    fn picture_card(&self) -> gtk::Box {
        let inner = &self.inner;
        inner.picture_name.set_wrap(true);
        inner.picture_name.add_css_class("dim-label");
        let files = gtk::Box::new(gtk::Orientation::Horizontal, 12);
        files.set_halign(gtk::Align::Center);
        files.append(&action_button("Open Picture…", "win.open-picture"));
        files.append(&action_button("Test Digit", "win.sample"));
        let start = action_button("Classify", "win.classify");
        start.add_css_class("suggested-action");
        start.add_css_class("pill");
        start.set_halign(gtk::Align::Center);
        start.set_valign(gtk::Align::End);
        start.set_vexpand(true);
        start.set_margin_top(6);
        let card = gtk::Box::new(gtk::Orientation::Vertical, 12);
        card.add_css_class("card");
        card.add_css_class("panel");
        card.append(&inner.digit.widget);
        card.append(&inner.picture_name);
        card.append(&files);
        card.append(&start);
        card
    }

    fn add_actions(&self, window: &adw::ApplicationWindow) {
        let on = |name: &str, run: fn(&Self)| {
            let action = gio::SimpleAction::new(name, None);
            let page = self.clone();
            action.connect_activate(move |_, _| run(&page));
            window.add_action(&action);
        };
        on("open-model", |page| {
            page.choose("Open a Model", "Models (*.hsh)", &["*.hsh"]);
        });
        on("open-picture", |page| {
            let patterns = ["*.png", "*.jpg", "*.jpeg", "*.csv"];
            page.choose("Open a Picture of One Digit", "Pictures", &patterns);
        });
        on("sample", Self::take_sample);
        for (action, run) in [
            (&self.inner.actions.classify, Self::start as fn(&Self)),
            (&self.inner.actions.cancel, Self::cancel),
        ] {
            let page = self.clone();
            action.connect_activate(move |_, _| run(&page));
            window.add_action(action);
        }
    }

    fn choose(&self, title: &str, kind: &str, patterns: &[&str]) {
        let window = self.widget.root().and_downcast::<gtk::Window>();
        let chooser = gtk::FileChooserNative::new(
            Some(title),
            window.as_ref(),
            gtk::FileChooserAction::Open,
            None,
            None,
        );
        let filter = gtk::FileFilter::new();
        filter.set_name(Some(kind));
        for pattern in patterns {
            filter.add_pattern(pattern);
        }
        chooser.add_filter(&filter);
        let page = self.clone();
        glib::spawn_future_local(async move {
            let answer = chooser.run_future().await;
            let path = chooser.file().and_then(|file| file.path());
            if answer == gtk::ResponseType::Accept
                && let Some(path) = path
            {
                page.open(path);
            }
        });
    }

    fn take_sample(&self) {
        let mut samples = self.inner.samples.borrow_mut();
        if samples.is_empty() {
            *samples = Picture::samples();
        }
        let next = self.inner.next_sample.get();
        self.inner.next_sample.set((next + 1) % samples.len());
        let picture = samples[next].clone();
        drop(samples);
        self.take_picture(picture);
    }

    fn take_picture(&self, picture: Picture) {
        self.inner.picture.replace(Some(picture));
        self.show_picture();
        self.clear_answer();
    }

    fn show_model(&self) {
        let row = &self.inner.model_row;
        match self.inner.model.borrow().as_ref() {
            Some(model) => {
                row.set_title(&glib::markup_escape_text(&model.name));
                row.set_subtitle(&glib::markup_escape_text(&model.summary));
            }
            None => {
                row.set_title("No model open");
                row.set_subtitle("Train one with <tt>hasher train --out digits.hsh</tt>");
            }
        }
    }

    fn show_picture(&self) {
        let name = &self.inner.picture_name;
        match self.inner.picture.borrow().as_ref() {
            Some(picture) => {
                self.inner.digit.show(picture);
                name.set_label(&picture.name);
            }
            None => name.set_label("A picture of one handwritten digit"),
        }
    }

    fn show_work(&self) {
        let zero_bits = self.inner.zero_bits.get();
        self.inner.work_row.set_sensitive(zero_bits.is_some());
        self.inner.work_row.set_subtitle(&match zero_bits {
            Some(bits) => format!("A ready device searches anchors with {bits} zero bits"),
            None => "No device is ready: anchors are plain hashes of this CPU".to_owned(),
        });
    }

    fn clear_answer(&self) {
        self.inner.waiting.replace(None);
        self.inner.run.set(self.inner.run.get() + 1);
        self.inner.answer.clear();
        self.inner.facts.widget.set_visible(false);
        self.allow();
    }

    /// Enables what makes sense now.
    fn allow(&self) {
        let inner = &self.inner;
        let is_running = inner.waiting.borrow().is_some();
        let is_complete = inner.model.borrow().is_some() && inner.picture.borrow().is_some();
        inner
            .actions
            .classify
            .set_enabled(is_complete && !is_running);
        inner.actions.cancel.set_enabled(is_running);
    }

    fn cancel(&self) {
        self.clear_answer();
    }

    fn start(&self) {
        let model = self.inner.model.borrow().clone();
        let picture = self.inner.picture.borrow().clone();
        let (Some(model), Some(picture)) = (model, picture) else {
            return;
        };
        let (waiting, given_up) = Waiting::new();
        self.inner.waiting.replace(Some(waiting));
        let run = self.inner.run.get() + 1;
        self.inner.run.set(run);
        self.inner.facts.widget.set_visible(false);
        self.inner.answer.show_progress(Progress::BEGIN);
        self.allow();
        let page = self.clone();
        glib::spawn_future_local(async move {
            let effort = page.effort().await;
            // The person may have given up during a password prompt.
            if page.inner.run.get() != run {
                return;
            }
            let done = match effort {
                Err(error) => Err(Failure::Call(error)),
                Ok(effort) => {
                    let plan = Plan {
                        model: model.model,
                        picture,
                        effort,
                    };
                    let (tell, told) = async_channel::bounded(PROGRESS_MAX);
                    page.clone().follow_run(run, told);
                    let run = gio::spawn_blocking(move || {
                        // A full channel only means that the window is busy.
                        let tell = |progress| _ = tell.try_send(progress);
                        classify(plan, tell, given_up)
                    });
                    match run.await {
                        Ok(done) => done.map_err(Failure::Run),
                        Err(_) => Err(Failure::Thread),
                    }
                }
            };
            if page.inner.run.get() == run {
                page.finish(done);
            }
        });
    }

    /// Direct, or with a socket that the daemon hands out now.
    async fn effort(&self) -> Result<Effort, CallError> {
        let zero_bits = self.inner.zero_bits.get();
        let Some(zero_bits) = zero_bits.filter(|_| self.inner.work.is_active()) else {
            return Ok(Effort::Direct);
        };
        Ok(Effort::Work {
            zero_bits,
            session: self.inner.daemon.open_session().await?,
        })
    }

    fn follow_run(self, run: u64, told: async_channel::Receiver<Progress>) {
        glib::spawn_future_local(async move {
            while let Ok(progress) = told.recv().await {
                if self.inner.run.get() != run {
                    return;
                }
                self.inner.answer.show_progress(progress);
            }
        });
    }

    fn finish(&self, done: Result<Answer, Failure>) {
        self.clear_answer();
        match done {
            Ok(answer) => {
                self.inner.answer.show(&answer);
                self.inner.facts.show(&answer.facts);
                self.inner.facts.widget.set_visible(true);
            }
            Err(Failure::Run(ClassifyError::Cancelled)) => {}
            Err(Failure::Run(error)) => self.complain(&error.for_people()),
            Err(Failure::Call(error)) => self.complain(&error.sentence("open a session")),
            Err(Failure::Thread) => self.complain("The answer failed inside the app"),
        }
    }

    fn complain(&self, text: &str) {
        toast(&self.widget, text);
    }
}

fn action_button(label: &str, action: &str) -> gtk::Button {
    gtk::Button::builder()
        .label(label)
        .action_name(action)
        .build()
}

fn flow_child(card: &impl IsA<gtk::Widget>) -> gtk::FlowBoxChild {
    gtk::FlowBoxChild::builder()
        .child(card)
        .focusable(false)
        .build()
}
