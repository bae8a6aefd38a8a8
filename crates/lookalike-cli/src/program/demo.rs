//! `lookalike demo`: the article, start to end, and what goes beyond it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lookalike::autoencoder::{
    Architecture, Autoencoder, AutoencoderError, Checkpointing, DeviceChoice, EpochRecord,
    PrecisionChoice, TrainConfig, train,
};
use lookalike::eval::Scores;
use lookalike::gallery::{Answer, Rerank};
use lookalike::images::{Collection, Image};
use lookalike::neighbours::{Codes, DiffusionConfig, Metric, Neighbour, nearest};
use lookalike::{
    AssessOptions, Encoder as _, Error, GalleryOptions, ImageStream, IndexOptions, QueryImage,
    SearchOptions, Searcher, assess, assess_pixels, create_gallery, index, open_gallery,
};
use serde::Serialize;

use super::arguments::DemoArguments;
use super::console::{Console, duration, table};
use super::drawing::{Cell, ContactSheet, Mark, Row};
use super::pictures::{self, Originals, answer_row};
use super::terminal::plain;
use super::train::{collapse_warning, remove};
use super::{Failure, eval};

/// The article's query: test image 7.
const QUERY: usize = 7;
/// Neighbours that it retrieves.
const K: usize = 5;
/// Queries on the second sheet: the first test images.
const MORE_QUERIES: usize = 12;
/// Images on each sheet of reconstructions.
const RECONSTRUCTIONS: usize = 20;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// One line of the final table.
#[derive(Serialize)]
struct Line {
    codes: &'static str,
    #[serde(flatten)]
    scores: Scores,
    /// Time to learn the codes.
    training_seconds: f64,
    /// Time to encode the test images and to answer each of them.
    answering_seconds: f64,
}

#[derive(Serialize)]
struct DemoReport {
    folder: PathBuf,
    table: Vec<Line>,
    article_epochs: Vec<EpochRecord>,
    our_epochs: Vec<EpochRecord>,
    answer: Answer,
    seconds: f64,
}

pub fn run(
    arguments: DemoArguments,
    device: DeviceChoice,
    console: &Console,
) -> Result<(), Failure> {
    let start = Instant::now();
    let demo = Demo::prepare(&arguments, device, console)?;
    demo.introduce()?;

    demo.step(
        "1. The article's network: a convolutional autoencoder that learns to give back its input.",
    )?;
    let article = demo.learn(Architecture::Conv, "article.safetensors")?;
    demo.step(
        "2. Ours: it sees a distorted digit and learns to describe the undistorted one: where its edges run, and which\n   \
         local structures it is made of; then where the digit lies among its neighbours' neighbours.",
    )?;
    let ours = demo.learn(Architecture::Bottleneck, "lookalike.safetensors")?;

    demo.step("3. How good are the answers? Every test image asks for its 5 nearest among all the others.")?;
    let table = demo.compare(&article, &ours)?;

    demo.step("4. The article's query: test image 7, searched in a gallery of the test images.")?;
    let rows = demo.rows_without_gallery(&article)?;
    let (article_record, our_record) = (article.record().clone(), ours.record().clone());
    let answer = demo.search(ours, rows)?;

    let series = vec![
        pictures::losses("ours (descriptions)", &our_record.epochs),
        pictures::losses("the article's (MSE)", &article_record.epochs),
    ];
    let curve = pictures::loss_curve("Training loss", series, None);
    pictures::write(&curve, &demo.path("loss.png"))?;
    let seconds = start.elapsed().as_secs_f64();
    demo.conclude(seconds)?;
    console.json(&DemoReport {
        folder: arguments.out.clone(),
        table,
        article_epochs: article_record.epochs,
        our_epochs: our_record.epochs,
        answer,
        seconds,
    })
}

struct Demo<'a> {
    arguments: &'a DemoArguments,
    device: DeviceChoice,
    console: &'a Console,
    training: Collection,
    test: Collection,
}

impl<'a> Demo<'a> {
    fn prepare(
        arguments: &'a DemoArguments,
        device: DeviceChoice,
        console: &'a Console,
    ) -> Result<Self, Error> {
        let folder = &arguments.out;
        std::fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
        console.note(format!("computing on {}", device.describe()?));
        let load = |name| lookalike::open(name)?.load(None, arguments.limit);
        Ok(Self {
            arguments,
            device,
            console,
            training: load("mnist:train")?,
            test: load("mnist:test")?,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.arguments.out.join(name)
    }

    fn step(&self, line: &str) -> Result<(), Failure> {
        self.console.say("")?;
        self.console.say_lines(line)
    }

    fn introduce(&self) -> Result<(), Failure> {
        self.console.say(format!(
            "Handwritten digits: {} to learn from, {} to search among. No label is used but to score answers.",
            self.training.len(),
            self.test.len()
        ))
    }

    fn learn(&self, architecture: Architecture, file: &str) -> Result<Autoencoder, Failure> {
        let mut config = TrainConfig {
            seed: self.arguments.seed,
            precision: PrecisionChoice::Auto.resolve(self.device),
            ..TrainConfig::new(architecture)
        };
        if let (Architecture::Bottleneck, Some(epochs)) = (architecture, self.arguments.epochs) {
            config.epochs = epochs;
        }
        // A demo that was stopped goes on where it was, unless it was another demo.
        let path = self.path(&format!("{file}.checkpoint"));
        let mut checkpointing = Checkpointing {
            resume: path.exists(),
            path,
            every: CHECKPOINT_EVERY,
        };
        let mut view = self.console.training();
        let mut learn =
            |c: &Checkpointing| train(&self.training, &config, self.device, Some(c), &mut view);
        let model = match learn(&checkpointing) {
            Err(AutoencoderError::Checkpoint { .. }) => {
                checkpointing.resume = false;
                learn(&checkpointing)?
            }
            other => other?,
        };
        drop(view);
        model.save(&self.path(file))?;
        remove(&checkpointing.path)?;
        if let Some(warning) = collapse_warning(model.record()) {
            self.console.note(warning);
        }
        let seconds = training_seconds(&model);
        self.console.say(format!(
            "   {} parameters, codes of {} floats, {} epochs in {}, {:.0} images/s",
            model.parameters(),
            model.code_dim(),
            config.epochs,
            duration(seconds),
            model.record().images_per_second()
        ))?;
        let name = file.trim_end_matches(".safetensors");
        let title = vec![format!("{name}: test images and their reconstructions")];
        let sheet = pictures::reconstruction_sheet(&model, &self.test, RECONSTRUCTIONS, title)?;
        pictures::write(&sheet, &self.path(&format!("{name}-reconstructions.png")))?;
        Ok(model)
    }

    fn compare(&self, article: &Autoencoder, ours: &Autoencoder) -> Result<Vec<Line>, Failure> {
        let diffusion = Some(DiffusionConfig::default());
        let score = |codes, model: &Autoencoder, rerank| -> Result<Line, Error> {
            let start = Instant::now();
            let metric = model.default_metric();
            let scores = assess(model, &self.test, None, &AssessOptions { metric, rerank })?;
            Ok(Line {
                codes,
                scores,
                training_seconds: training_seconds(model),
                answering_seconds: start.elapsed().as_secs_f64(),
            })
        };
        let lines = vec![
            self.score_pixels()?,
            score("the article's autoencoder", article, None)?,
            score("ours", ours, None)?,
            score("ours + diffusion", ours, diffusion)?,
        ];
        let mut rows = vec![eval::heading()];
        rows[0].extend(["learning".to_owned(), "answering".to_owned()]);
        for line in &lines {
            let mut row = eval::row(&format!("   {}", line.codes), &line.scores);
            row.push(match line.training_seconds {
                0.0 => "-".to_owned(),
                seconds => duration(seconds),
            });
            row.push(duration(line.answering_seconds));
            rows.push(row);
        }
        for line in super::console::table(&rows) {
            self.console.say(line)?;
        }
        self.console.say_lines(
            "   P@5: share of right answers among the first five. all-5: share of queries whose five are all right.\n   mAP: mean average precision over the whole ranking.",
        )?;
        Ok(lines)
    }

    fn score_pixels(&self) -> Result<Line, Error> {
        let start = Instant::now();
        let scores = assess_pixels(&self.test, None, Metric::Euclidean)?;
        Ok(Line {
            codes: "raw pixels",
            scores,
            training_seconds: 0.0,
            answering_seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// What the raw pixels and the article's codes answer to the query.
    fn rows_without_gallery(&self, article: &Autoencoder) -> Result<Vec<Row>, Failure> {
        let article_codes = article.encode_collection(&self.test, |_| {})?;
        let pixels = lookalike::pixel_vectors(&self.test);
        let ask = |vectors: &[f32], dims: usize| -> Result<Vec<Neighbour>, Error> {
            let query = &vectors[QUERY * dims..(QUERY + 1) * dims];
            let (gallery, query) = (Codes::new(vectors, dims)?, Codes::new(query, dims)?);
            let mut answers = nearest(gallery, query, Metric::Euclidean, K + 1);
            let mut answer = answers.pop().unwrap_or_default();
            answer.retain(|neighbour| neighbour.index != QUERY);
            answer.truncate(K);
            Ok(answer)
        };
        Ok(vec![
            self.row("raw pixels", &ask(&pixels, self.test.shape().values())?),
            self.row("article", &ask(&article_codes, article.code_dim())?),
        ])
    }

    fn row(&self, heading: &str, neighbours: &[Neighbour]) -> Row {
        let query = self.test.label(QUERY);
        let mut cells = vec![Cell::query(
            self.test.picture(QUERY),
            query.unwrap_or_default(),
        )];
        for (rank, neighbour) in neighbours.iter().enumerate() {
            let label = self.test.label(neighbour.index);
            cells.push(Cell::neighbour(
                self.test.picture(neighbour.index),
                rank + 1,
                label.unwrap_or_default(),
                neighbour.distance,
                Mark::of_labels(query, label),
            ));
        }
        Row {
            heading: heading.to_owned(),
            cells,
        }
    }

    /// Indexes the test images with our model, asks for the query and draws the answers.
    fn search(&self, model: Autoencoder, mut rows: Vec<Row>) -> Result<Answer, Failure> {
        let path = self.path("test.gallery");
        self.discard_gallery(&path)?;
        let gallery = create_gallery(&path, &model, &GalleryOptions::new())?;
        let start = Instant::now();
        let options = IndexOptions {
            diffusion: true,
            ..IndexOptions::default()
        };
        let test = ImageStream::of_collection(&self.test);
        index(test, &model, &*gallery, options)?;
        self.console.say(format!(
            "   {} images encoded and indexed, and their neighbour graph built, in {}",
            self.test.len(),
            duration(start.elapsed().as_secs_f64())
        ))?;
        let searcher = Searcher::new(gallery, Box::new(model));
        let originals = Originals::of(searcher.gallery())?;
        let mut answers = Vec::new();
        for (heading, rerank) in [("ours", Rerank::None), ("+ diffusion", Rerank::Diffusion)] {
            let (query, answer) = self.ask(&searcher, QUERY, rerank)?;
            let mut row = answer_row(&query, &answer, &originals)?;
            row.heading = heading.to_owned();
            rows.push(row);
            answers.push(answer);
        }
        let answer = answers.swap_remove(0);
        self.print_answer(&answer)?;
        let title = vec![
            "Test image 7 and its 5 nearest among the other test images".to_owned(),
            "green: the query's digit, red: another".to_owned(),
        ];
        let sheet = ContactSheet { title, rows };
        pictures::write(&sheet.render(), &self.path("answers.png"))?;

        let mut rows = Vec::new();
        for query in 0..MORE_QUERIES.min(self.test.len()) {
            let (image, answer) = self.ask(&searcher, query, Rerank::Diffusion)?;
            rows.push(answer_row(&image, &answer, &originals)?);
        }
        let title = vec!["The first test images, answered by ours + diffusion".to_owned()];
        let sheet = ContactSheet { title, rows };
        pictures::write(&sheet.render(), &self.path("more-answers.png"))?;
        Ok(answer)
    }

    /// Removes a former demo's gallery, which belongs to a former model: renamed first, so that a
    /// demo that is killed meanwhile leaves no half of it in the way.
    fn discard_gallery(&self, path: &Path) -> Result<(), Error> {
        let discarded = self.path("discarded.gallery");
        if path.join("gallery.json").exists() {
            // Fails, saying so, while another process uses it.
            drop(open_gallery(path)?);
            std::fs::rename(path, &discarded).map_err(Error::io("rename", path))?;
        }
        match std::fs::remove_dir_all(&discarded) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &discarded)(e))
            }
            _ => Ok(()),
        }
    }

    fn ask(
        &self,
        searcher: &Searcher,
        query: usize,
        rerank: Rerank,
    ) -> Result<(Image, Answer), Error> {
        let image = self.test.copy(query);
        let options = SearchOptions {
            k: K,
            exclude_self: true,
            rerank,
            ..SearchOptions::default()
        };
        let asked = QueryImage {
            source: Some(self.test.name().to_owned()),
            ..image.clone().into()
        };
        let answer = searcher.search(asked, &options)?;
        Ok((image, answer))
    }

    fn print_answer(&self, answer: &Answer) -> Result<(), Failure> {
        let mut rows = vec![vec![
            "   rank".to_owned(),
            "distance".to_owned(),
            "digit".to_owned(),
            "image".to_owned(),
        ]];
        for (rank, hit) in answer.neighbours.iter().enumerate() {
            rows.push(vec![
                format!("   {}", rank + 1),
                format!("{:.4}", hit.distance),
                hit.payload.label.clone().unwrap_or_default(),
                format!("{}#{}", hit.payload.source, hit.payload.key),
            ]);
        }
        for line in table(&rows) {
            self.console.say(line)?;
        }
        Ok(())
    }

    fn conclude(&self, seconds: f64) -> Result<(), Failure> {
        let shown = |path: &Path| plain(&path.display().to_string()).into_owned();
        let folder = shown(&self.arguments.out);
        self.console.say_lines(format!(
            "\nDone in {}. In {folder}:\n   answers.png                    test image 7 and its neighbours, by each of the four\n   more-answers.png               more queries\n   article-reconstructions.png    what the article's network gives back\n   lookalike-reconstructions.png  what ours gives back\n   loss.png                       how the losses fell\n   article.safetensors, lookalike.safetensors, test.gallery\n\nAsk for yourself, on a page in your browser, or here:\n   {program} serve --gallery {gallery}\n   {program} search mnist:test#42 --gallery {gallery} --rerank diffusion --sheet 42.png",
            duration(seconds),
            program = called(),
            gallery = shown(&self.path("test.gallery"))
        ))
    }
}

/// How the program was called, so that what is printed can be typed as it is.
fn called() -> String {
    std::env::args()
        .next()
        .unwrap_or_else(|| "lookalike".to_owned())
}

fn training_seconds(model: &Autoencoder) -> f64 {
    model.record().seconds()
}
