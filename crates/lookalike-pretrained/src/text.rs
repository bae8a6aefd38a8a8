//! Words as the numbers that a text model takes.

use tokenizers::utils::padding::{PaddingParams, PaddingStrategy};
use tokenizers::utils::truncation::TruncationParams;
use tokenizers::{PostProcessor, Tokenizer};

use crate::PretrainedError;
use crate::files::Files;
use crate::onnx::{INTEGERS, Port};
use crate::preprocessing::Section;
use crate::runtime::{Engine, Input, Numbers};
use crate::tower::{File, Tower};

/// Where the tokenizer of a text model may be.
const TOKENIZERS: [&str; 2] = ["tokenizer.json", "textual/tokenizer.json"];
/// Inputs that hold the tokens.
const TOKENS: [&str; 2] = ["input_ids", "text"];
/// More tokens than any text model takes.
const MAX_CONTEXT: usize = 1 << 16;

/// The text model of an encoder, and how text is prepared for it.
pub(crate) struct TextTower {
    tower: Tower,
    tokenizer: Tokenizer,
    cleaning: Cleaning,
    inputs: Vec<(Port, Kind)>,
}

/// What an input of a text model holds.
#[derive(Clone, Copy)]
enum Kind {
    Tokens,
    /// 1 for tokens, 0 for padding.
    Mask,
    Positions,
    /// Which of two texts a token belongs to: always the first.
    Segments,
}

/// What is done to a text before it becomes tokens.
#[derive(Clone, Copy, Default)]
struct Cleaning {
    lower: bool,
    /// Takes punctuation away.
    canonical: bool,
}

/// What the files say about texts.
#[derive(Default)]
struct Facts {
    context: Option<usize>,
    pad: Option<u32>,
    cleaning: Cleaning,
}

/// The tokenizer's file, if the folder has one.
pub(crate) fn tokenizer_file(files: &Files) -> Option<&'static str> {
    TOKENIZERS.into_iter().find(|name| files.has(name))
}

/// The files beside a tokenizer, and those of the whole folder, that say how texts are prepared.
fn documents(tokenizer: &str) -> [String; 4] {
    let folder = tokenizer.trim_end_matches("tokenizer.json");
    [
        format!("{folder}tokenizer_config.json"),
        format!("{folder}special_tokens_map.json"),
        "open_clip_config.json".to_owned(),
        "config.json".to_owned(),
    ]
}

/// Reads all that [`TextTower::load`] will need, so that it counts in the fingerprint.
pub(crate) fn read_all(files: &mut Files, engine: &Engine) -> Result<(), PretrainedError> {
    if let (Some(model), Some(tokenizer)) = (files.text.clone(), tokenizer_file(files)) {
        File::read(files, &model, engine)?;
        files.read(tokenizer)?;
        for name in documents(tokenizer) {
            files.json(&name)?;
        }
    }
    Ok(())
}

impl TextTower {
    pub(crate) fn load(
        files: &mut Files,
        engine: &Engine,
        load: impl FnOnce(File) -> Result<Tower, PretrainedError>,
    ) -> Result<Self, PretrainedError> {
        let wrong = |files: &Files, reason: String| PretrainedError::Text {
            path: files.path(files.text.as_ref().unwrap_or(&files.image)),
            reason,
        };
        let Some(model) = files.text.clone() else {
            return Err(wrong(
                files,
                "there is no text model beside it; export the text tower too".to_owned(),
            ));
        };
        let Some(name) = tokenizer_file(files) else {
            return Err(wrong(
                files,
                "its tokenizer.json is missing; put it beside the model".to_owned(),
            ));
        };
        let bytes = files.read(name)?;
        let mut tokenizer = Tokenizer::from_bytes(&bytes)
            .map_err(|error| wrong(files, format!("its {name} cannot be read: {error}")))?;
        let file = File::read(files, &model, engine)?;
        let inputs = inputs(&file)?;
        let facts = facts(files, name, &tokenizer)?;
        // A length that the graph gives is the one it works with.
        let tokens = file
            .inputs
            .iter()
            .find(|port| matches!(kind(&port.name, file.inputs.len()), Some(Kind::Tokens)));
        let fixed = tokens.and_then(|port| port.fixed(1));
        let context = fixed.or(facts.context).ok_or_else(|| {
            wrong(
                files,
                "nothing says how many tokens it takes; add model_max_length to tokenizer_config.json".to_owned(),
            )
        })?;
        let special = tokenizer
            .get_post_processor()
            .map_or(0, |processor| processor.added_tokens(false));
        if !(special + 1..=MAX_CONTEXT).contains(&context) {
            return Err(wrong(
                files,
                format!("texts of {context} tokens are not supported"),
            ));
        }
        // Without a mask, a model sees the padding: it has to be as it was in training.
        let has_mask = inputs.iter().any(|(_, kind)| matches!(kind, Kind::Mask));
        let fixed_padding = tokenizer
            .get_padding()
            .is_some_and(|p| matches!(p.strategy, PaddingStrategy::Fixed(_)));
        let padding = match fixed.is_some() || !has_mask || fixed_padding {
            false => None,
            true => {
                let pad_id = facts
                    .pad
                    .or(tokenizer.get_padding().map(|padding| padding.pad_id));
                let pad_id = pad_id.ok_or_else(|| {
                    wrong(
                        files,
                        "nothing says how texts are padded; add pad_token to tokenizer_config.json"
                            .to_owned(),
                    )
                })?;
                Some(PaddingParams {
                    strategy: PaddingStrategy::Fixed(context),
                    pad_id,
                    ..PaddingParams::default()
                })
            }
        };
        let truncation = TruncationParams {
            max_length: context,
            ..TruncationParams::default()
        };
        let set = tokenizer.with_truncation(Some(truncation)).map(|_| ());
        set.map_err(|error| wrong(files, format!("its {name} cannot be used: {error}")))?;
        tokenizer.with_padding(padding);
        Ok(Self {
            tower: load(file)?,
            tokenizer,
            cleaning: facts.cleaning,
            inputs,
        })
    }

    pub(crate) fn encode(&self, text: &str) -> Result<Vec<f32>, PretrainedError> {
        let tokens = self.tokenizer.encode(self.cleaning.clean(text), true);
        let tokens = tokens.map_err(|error| {
            self.tower
                .run_error(format!("cannot split the text: {error}"))
        })?;
        let length = tokens.get_ids().len();
        let number = |&value: &u32| i32::try_from(value).unwrap_or(i32::MAX);
        let numbers = |kind: &Kind| match kind {
            Kind::Tokens => tokens.get_ids().iter().map(number).collect(),
            Kind::Mask => tokens.get_attention_mask().iter().map(number).collect(),
            Kind::Positions => (0..length as i32).collect(),
            Kind::Segments => vec![0; length],
        };
        let inputs = self.inputs.iter().map(|(port, kind)| Input {
            port,
            shape: vec![1, length],
            numbers: Numbers::Integers(numbers(kind)),
        });
        let code = self.tower.run(inputs.collect())?.0;
        self.tower.check_direction(&code)?;
        Ok(code)
    }
}

impl Cleaning {
    fn clean(self, text: &str) -> String {
        let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.canonical {
            text.retain(|letter| !letter.is_ascii_punctuation());
        }
        if self.lower || self.canonical {
            text = text.to_lowercase();
        }
        text
    }
}

fn kind(name: &str, inputs: usize) -> Option<Kind> {
    match name {
        _ if TOKENS.contains(&name) => Some(Kind::Tokens),
        "attention_mask" => Some(Kind::Mask),
        "position_ids" => Some(Kind::Positions),
        "token_type_ids" => Some(Kind::Segments),
        _ if inputs == 1 => Some(Kind::Tokens),
        _ => None,
    }
}

fn inputs(file: &File) -> Result<Vec<(Port, Kind)>, PretrainedError> {
    let count = file.inputs.len();
    let known = |port: &Port| {
        let kind = kind(&port.name, count).filter(|_| INTEGERS.contains(&port.element));
        let kind = kind.filter(|_| port.rank().is_none_or(|rank| rank == 2));
        kind.map(|kind| (port.clone(), kind)).ok_or_else(|| {
            file.unsupported(format!(
                "it is not a text model as far as known: it takes {port}; export the text tower alone, with input_ids \
                 and perhaps attention_mask"
            ))
        })
    };
    let inputs: Vec<(Port, Kind)> = file.inputs.iter().map(known).collect::<Result<_, _>>()?;
    match inputs
        .iter()
        .filter(|(_, kind)| matches!(kind, Kind::Tokens))
        .count()
    {
        1 => Ok(inputs),
        _ => Err(file.unsupported(
            "it is not a text model: it has no input_ids; export the text tower alone",
        )),
    }
}

fn facts(
    files: &mut Files,
    tokenizer_file: &str,
    tokenizer: &Tokenizer,
) -> Result<Facts, PretrainedError> {
    let mut facts = Facts::default();
    let [tokenizer_config, special_tokens, open_clip, config] = documents(tokenizer_file);
    let mut pad_token = None;
    let mut longest = None;
    for name in [&tokenizer_config, &special_tokens] {
        let Some(json) = files.json(name)? else {
            continue;
        };
        let section = Section::new(files, name, &json)?;
        let token = match section.section("pad_token")? {
            Some(token) => token.text("content")?,
            None => section.text("pad_token")?,
        };
        if let (None, Some(token)) = (pad_token, token) {
            let id = tokenizer.token_to_id(token);
            pad_token = Some(section.required("pad_token", id, "a token of tokenizer.json")?);
        }
        if name == &tokenizer_config {
            facts.cleaning.lower = section.flag("do_lower_case")?.unwrap_or(false);
            // A huge number stands for no limit.
            longest = section
                .number("model_max_length")?
                .filter(|&n| n >= 1.0 && n <= MAX_CONTEXT as f64);
        }
    }
    facts.pad = pad_token;
    let length = |section: &Section<'_>, key: &str| match section.number(key)? {
        None => Ok(None),
        Some(n) if n >= 1.0 && n <= MAX_CONTEXT as f64 => Ok(Some(n as usize)),
        Some(_) => Err(section.wrong(key, "a number of tokens")),
    };
    for name in [&open_clip, &config] {
        let Some(json) = files.json(name)? else {
            continue;
        };
        let whole = Section::new(files, name, &json)?;
        if let Some(text) = whole.section("text_config")? {
            facts.context = facts.context.or(length(&text, "max_position_embeddings")?);
        }
        // open_clip has it inside of model_cfg, Immich on its own.
        let model = whole.section("model_cfg")?.unwrap_or(whole);
        let Some(text) = model.section("text_cfg")? else {
            continue;
        };
        facts.context = facts
            .context
            .or(length(&text, "context_length")?)
            .or(Some(77));
        if let Some(id) = text.number("pad_id")? {
            facts.pad = Some(id as u32);
        } else if facts.pad.is_none() && !text.has("hf_tokenizer_name") {
            // open_clip's own tokenizer pads with zeros.
            facts.pad = Some(0);
        }
        if let Some(arguments) = text.section("tokenizer_kwargs")? {
            match arguments.text("clean")? {
                None | Some("whitespace") => {}
                Some("lower") => facts.cleaning.lower = true,
                Some("canonicalize") => facts.cleaning.canonical = true,
                Some(_) => {
                    return Err(
                        arguments.wrong("clean", "\"whitespace\", \"lower\" or \"canonicalize\"")
                    );
                }
            }
        }
    }
    let own = tokenizer
        .get_truncation()
        .map(|truncation| truncation.max_length);
    facts.context = facts.context.or(longest.map(|n| n as usize)).or(own);
    Ok(facts)
}
