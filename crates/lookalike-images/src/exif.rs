//! What a camera wrote about a photograph into its file (EXIF).

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::exif::{Field, In, Rational, Reader, Tag, Value};
use tiff::decoder::ifd::Value as TiffValue;
use tiff::decoder::{Decoder, IfdDecoder, Limits};
use tiff::tags::Tag as TiffTag;

use crate::decode::Format;

mod containers;

use containers::{in_jpeg, in_jpeg_xl, in_png, in_webp};

/// What is known of how a photograph was taken; nothing of what is not written, or makes no sense.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exif {
    /// When it was taken, by the camera's clock, whose time zone is not known:
    /// `2024-06-01T12:30:00`.
    pub taken: Option<String>,
    /// The camera's maker and model.
    pub camera: Option<String>,
    /// The lens's model.
    pub lens: Option<String>,
    /// Degrees north of the equator, -90 to 90.
    pub latitude: Option<f64>,
    /// Degrees east of Greenwich, -180 to 180.
    pub longitude: Option<f64>,
    /// How the picture in the file is to be turned, 1 (not at all) to 8.
    pub orientation: Option<u8>,
}

/// The most bytes of EXIF that are looked at; in JPEG there is room for 64 KiB.
const MAX_BYTES: usize = 1 << 18;
/// The most letters that are kept of a name.
const MAX_LETTERS: usize = 100;
/// The most bytes of one field of a TIFF file that are read.
const MAX_FIELD_BYTES: usize = 1 << 12;

/// What is looked at of a TIFF file's own fields, and of those in its two directories.
const OWN_FIELDS: [Tag; 3] = [Tag::Make, Tag::Model, Tag::Orientation];
const EXIF_FIELDS: [Tag; 3] = [
    Tag::DateTimeOriginal,
    Tag::DateTimeDigitized,
    Tag::LensModel,
];
const GPS_FIELDS: [Tag; 4] = [
    Tag::GPSLatitude,
    Tag::GPSLatitudeRef,
    Tag::GPSLongitude,
    Tag::GPSLongitudeRef,
];

impl Exif {
    /// Reads it from a picture's file: JPEG, PNG, WebP, TIFF (of its first page) or JPEG XL (where
    /// it is not compressed); of other formats nothing is known. The picture is not decoded, and
    /// whatever the bytes hold is no error.
    pub fn of_file(bytes: &[u8]) -> Self {
        let block = match Format::of(bytes) {
            Ok(Format::Jpeg) => in_jpeg(bytes),
            Ok(Format::Png) => in_png(bytes),
            Ok(Format::WebP) => in_webp(bytes),
            Ok(Format::JpegXl) => in_jpeg_xl(bytes),
            Ok(Format::Tiff) => return cautiously(|| Self::of_tiff(bytes)),
            _ => None,
        };
        let block = block.filter(|block| block.len() <= MAX_BYTES);
        block.map_or_else(Self::default, |block| cautiously(|| Self::of_block(block)))
    }

    /// Reads it from a TIFF file, which is built as the block of other files is. Only what is
    /// looked at is read, as the file may be large.
    fn of_tiff(bytes: &[u8]) -> Self {
        let Ok(decoder) = Decoder::new(Cursor::new(bytes)) else {
            return Self::default();
        };
        let mut limits = Limits::default();
        limits.ifd_value_size = MAX_FIELD_BYTES;
        // What holds for strings.
        limits.decoding_buffer_size = MAX_FIELD_BYTES;
        let mut decoder = decoder.with_limits(limits);
        let mut fields = Vec::new();
        take(decoder.image_ifd(), &OWN_FIELDS, &mut fields);
        let directories: [(TiffTag, &[Tag]); 2] = [
            (TiffTag::ExifDirectory, &EXIF_FIELDS),
            (TiffTag::GpsDirectory, &GPS_FIELDS),
        ];
        for (tag, wanted) in directories {
            let pointer = decoder.find_tag(tag).ok().flatten();
            let pointer = pointer.and_then(|value| value.into_ifd_pointer().ok());
            if let Some(directory) = pointer.and_then(|at| decoder.read_directory(at).ok()) {
                take(decoder.read_directory_tags(&directory), wanted, &mut fields);
            }
        }
        Self::of_fields(|tag| fields.iter().find(|field| field.tag == tag))
    }

    /// Reads it from the TIFF structure that holds it.
    fn of_block(block: &[u8]) -> Self {
        let mut reader = Reader::new();
        // Cameras and programs leave much behind that is nearly right.
        reader.continue_on_error(true);
        let read = reader.read_raw(block.to_vec());
        let Ok(all) = read.or_else(|error| error.distill_partial_result(|_| {})) else {
            return Self::default();
        };
        Self::of_fields(|tag| all.get_field(tag, In::PRIMARY))
    }

    fn of_fields<'a>(field: impl Fn(Tag) -> Option<&'a Field>) -> Self {
        let name = |tag: Tag| field(tag).and_then(name);
        let taken = [Tag::DateTimeOriginal, Tag::DateTimeDigitized];
        let place = field(Tag::GPSLatitude)
            .and_then(|value| degrees(value, field(Tag::GPSLatitudeRef)?, *b"NS", 90.0))
            .zip(
                field(Tag::GPSLongitude)
                    .and_then(|value| degrees(value, field(Tag::GPSLongitudeRef)?, *b"EW", 180.0)),
            )
            // What receivers write that know no place.
            .filter(|&place| place != (0.0, 0.0));
        Self {
            taken: taken.into_iter().find_map(|tag| time(field(tag)?)),
            camera: camera(name(Tag::Make), name(Tag::Model)),
            lens: name(Tag::LensModel),
            latitude: place.map(|place| place.0),
            longitude: place.map(|place| place.1),
            orientation: field(Tag::Orientation)
                .and_then(|field| u8::try_from(field.value.get_uint(0)?).ok())
                .filter(|turn| (1..=8).contains(turn)),
        }
    }
}

/// Should a parser panic, nothing is known.
fn cautiously(read: impl FnOnce() -> Exif) -> Exif {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_default()
}

/// Adds those of the wanted fields that a directory of a TIFF file has.
fn take(mut directory: IfdDecoder<'_>, wanted: &[Tag], fields: &mut Vec<Field>) {
    for &tag in wanted {
        let found = directory.find_tag(TiffTag::from_u16_exhaustive(tag.number()));
        let value = found.ok().flatten().and_then(value_of);
        fields.extend(value.map(|value| Field {
            tag,
            ifd_num: In::PRIMARY,
            value,
        }));
    }
}

/// A value in the terms of blocks, of the kinds that are looked at.
fn value_of(value: TiffValue) -> Option<Value> {
    Some(match value {
        TiffValue::Ascii(text) => Value::Ascii(vec![text.into_bytes()]),
        TiffValue::Short(number) => Value::Short(vec![number]),
        TiffValue::Rational(num, denom) => Value::Rational(vec![Rational { num, denom }]),
        TiffValue::List(values) => {
            let part = |value: TiffValue| match value {
                TiffValue::Rational(num, denom) => Some(Rational { num, denom }),
                _ => None,
            };
            Value::Rational(values.into_iter().map(part).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// A text without what surrounds it, if anything is left.
fn name(field: &Field) -> Option<String> {
    let Value::Ascii(parts) = &field.value else {
        return None;
    };
    let text = String::from_utf8_lossy(parts.first()?);
    let text: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(MAX_LETTERS)
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// "Canon EOS R5", whether the model repeats the maker or not.
fn camera(maker: Option<String>, model: Option<String>) -> Option<String> {
    match (maker, model) {
        (Some(maker), Some(model)) => {
            let first = |text: &str| text.split_whitespace().next().map(str::to_lowercase);
            Some(match first(&maker) == first(&model) {
                true => model,
                false => format!("{maker} {model}"),
            })
        }
        (maker, model) => model.or(maker),
    }
}

/// A time that there is.
fn time(field: &Field) -> Option<String> {
    let Value::Ascii(parts) = &field.value else {
        return None;
    };
    let time = ::exif::DateTime::from_ascii(parts.first()?).ok()?;
    let days = match time.month {
        2 if time.year % 4 == 0 && (time.year % 100 != 0 || time.year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let is_one = (1..=days).contains(&time.day)
        && (1..=9999).contains(&time.year)
        && time.hour < 24
        && time.minute < 60
        && time.second < 60;
    is_one.then(|| {
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            time.year, time.month, time.day, time.hour, time.minute, time.second
        )
    })
}

/// Degrees, minutes and seconds as degrees, to a tenth of a metre; below 0 on the second of two
/// sides.
fn degrees(field: &Field, side: &Field, sides: [u8; 2], most: f64) -> Option<f64> {
    let (Value::Rational(parts), Value::Ascii(letters)) = (&field.value, &side.value) else {
        return None;
    };
    let letter = letters.first()?.first()?.to_ascii_uppercase();
    let sign = match sides.iter().position(|&side| side == letter)? {
        0 => 1.0,
        _ => -1.0,
    };
    let [degrees, minutes, seconds] = [0, 1, 2].map(|at| parts.get(at).map(|part| part.to_f64()));
    let sum = degrees? + minutes.unwrap_or(0.0) / 60.0 + seconds.unwrap_or(0.0) / 3600.0;
    // Parts may be divided by nothing.
    (0.0..=most)
        .contains(&sum)
        .then(|| sign * (sum * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use ::exif::experimental::Writer;
    use ::exif::{Rational, Value};
    use proptest::prelude::*;

    use super::*;

    fn ascii(text: &str) -> Value {
        Value::Ascii(vec![text.as_bytes().to_vec()])
    }

    fn rationals(parts: [(u32, u32); 3]) -> Value {
        let part = |(num, denom)| Rational { num, denom };
        Value::Rational(parts.map(part).to_vec())
    }

    /// The block of some fields.
    fn block(fields: &[(Tag, Value)]) -> Vec<u8> {
        with_strips(fields, None)
    }

    /// A TIFF file of one pixel with some fields.
    fn tiff(fields: &[(Tag, Value)]) -> Vec<u8> {
        let picture = [
            (Tag::ImageWidth, Value::Long(vec![1])),
            (Tag::ImageLength, Value::Long(vec![1])),
            (Tag::BitsPerSample, Value::Short(vec![8])),
            (Tag::Compression, Value::Short(vec![1])),
            (Tag::PhotometricInterpretation, Value::Short(vec![1])),
            (Tag::SamplesPerPixel, Value::Short(vec![1])),
            (Tag::RowsPerStrip, Value::Long(vec![1])),
        ];
        with_strips(&[&picture, fields].concat(), Some(&[&[7]]))
    }

    fn with_strips(fields: &[(Tag, Value)], strips: Option<&[&[u8]]>) -> Vec<u8> {
        let fields: Vec<Field> = fields
            .iter()
            .map(|(tag, value)| Field {
                tag: *tag,
                ifd_num: In::PRIMARY,
                value: value.clone(),
            })
            .collect();
        let mut writer = Writer::new();
        fields.iter().for_each(|field| writer.push_field(field));
        if let Some(strips) = strips {
            writer.set_strips(strips, In::PRIMARY);
        }
        let mut bytes = Cursor::new(Vec::new());
        writer.write(&mut bytes, true).unwrap();
        bytes.into_inner()
    }

    fn photograph() -> Vec<u8> {
        block(&fields())
    }

    fn fields() -> [(Tag, Value); 9] {
        [
            (Tag::Make, ascii("Canon")),
            (Tag::Model, ascii("Canon EOS R5 ")),
            (Tag::LensModel, ascii("RF50mm F1.8 STM")),
            (Tag::DateTimeOriginal, ascii("2024:06:01 12:30:05")),
            (Tag::Orientation, Value::Short(vec![6])),
            (Tag::GPSLatitudeRef, ascii("S")),
            (
                Tag::GPSLatitude,
                rationals([(33, 1), (51, 1), (2_500, 100)]),
            ),
            (Tag::GPSLongitudeRef, ascii("E")),
            (Tag::GPSLongitude, rationals([(151, 1), (12, 1), (0, 1)])),
        ]
    }

    fn expected() -> Exif {
        Exif {
            taken: Some("2024-06-01T12:30:05".into()),
            camera: Some("Canon EOS R5".into()),
            lens: Some("RF50mm F1.8 STM".into()),
            latitude: Some(-33.856_944),
            longitude: Some(151.2),
            orientation: Some(6),
        }
    }

    fn jpeg(block: &[u8]) -> Vec<u8> {
        let mut file = vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xe1];
        file.extend((block.len() as u16 + 8).to_be_bytes());
        file.extend(b"Exif\0\0");
        file.extend(block);
        file
    }

    #[test]
    fn it_is_found_in_every_container() {
        let block = photograph();
        assert_eq!(Exif::of_file(&jpeg(&block)), expected());
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x02IHDRxxcrc!".to_vec();
        png.extend((block.len() as u32).to_be_bytes());
        png.extend(b"eXIf");
        png.extend(&block);
        assert_eq!(Exif::of_file(&png), expected());
        let mut webp = b"RIFF\xff\xff\0\0WEBPVP8X\x03\0\0\0abc\0EXIF".to_vec();
        webp.extend((block.len() as u32).to_le_bytes());
        webp.extend(&block);
        assert_eq!(Exif::of_file(&webp), expected());
        assert_eq!(Exif::of_file(&tiff(&fields())), expected());
        let mut jxl = b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x10ftypjxl \0\0\0\0".to_vec();
        let boxed = |prefix: &[u8]| {
            let mut file = jxl.clone();
            file.extend((block.len() as u32 + 8 + prefix.len() as u32).to_be_bytes());
            [&file[..], b"Exif", prefix, &block, b"\0\0\0\x0ajxlcxx"].concat()
        };
        assert_eq!(Exif::of_file(&boxed(&[0; 4])), expected());
        assert_eq!(Exif::of_file(&boxed(b"\0\0\0\x02xx")), expected());
        // A box whose length has 64 bits, and one up to the end of the file.
        jxl.extend(b"\0\0\0\x01free\0\0\0\0\0\0\0\x11x\0\0\0\0Exif\0\0\0\0");
        jxl.extend(&block);
        assert_eq!(Exif::of_file(&jxl), expected());
        // Not behind the beginning of the picture, and not in other files.
        let mut late = vec![0xff, 0xd8, 0xff, 0xda, 0, 2];
        late.extend(&jpeg(&block)[2..]);
        for none in [late, b"GIF89a".to_vec(), block, Vec::new()] {
            assert_eq!(Exif::of_file(&none), Exif::default());
        }
    }

    #[test]
    fn of_a_tiff_file_only_short_fields_are_read() {
        let mut fields = fields();
        fields[2].1 = ascii(&"x".repeat(MAX_FIELD_BYTES + 1));
        let found = Exif::of_file(&tiff(&fields));
        assert_eq!(
            found,
            Exif {
                lens: None,
                ..expected()
            }
        );
        // A directory that is its own, and one that is nowhere.
        for at in [8_u32, u32::MAX] {
            let mut file = tiff(&fields);
            let pointer = [0x69, 0x87, 4, 0, 1, 0, 0, 0];
            let entry = file.windows(8).position(|bytes| bytes == pointer).unwrap();
            file[entry + 8..entry + 12].copy_from_slice(&at.to_le_bytes());
            let found = Exif::of_file(&file);
            assert_eq!((found.camera, found.taken), (expected().camera, None));
        }
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let of = |tag, value| Exif::of_block(&block(&[(tag, value)]));
        for bad in [
            "0000:00:00 00:00:00",
            "2024:02:30 10:00:00",
            "2024:06:01 24:00:00",
            "soon",
            "",
        ] {
            assert_eq!(of(Tag::DateTimeOriginal, ascii(bad)).taken, None, "{bad}");
        }
        let leap = of(Tag::DateTimeDigitized, ascii("2024:02:29 00:00:00"));
        assert_eq!(leap.taken.as_deref(), Some("2024-02-29T00:00:00"));
        assert_eq!(of(Tag::Model, ascii(" \0")).camera, None);
        assert_eq!(of(Tag::Model, Value::Short(vec![3])).camera, None);
        assert_eq!(
            of(Tag::Orientation, Value::Short(vec![9])).orientation,
            None
        );
        let long = of(Tag::LensModel, ascii(&"x".repeat(1000))).lens.unwrap();
        assert_eq!(long.len(), MAX_LETTERS);
        let place = |latitude: [(u32, u32); 3], longitude: [(u32, u32); 3]| {
            let found = Exif::of_block(&block(&[
                (Tag::GPSLatitudeRef, ascii("N")),
                (Tag::GPSLatitude, rationals(latitude)),
                (Tag::GPSLongitudeRef, ascii("W")),
                (Tag::GPSLongitude, rationals(longitude)),
            ]));
            found.latitude.zip(found.longitude)
        };
        let whole = |degrees| [(degrees, 1), (0, 1), (0, 1)];
        assert_eq!(place(whole(47), whole(7)), Some((47.0, -7.0)));
        assert_eq!(place(whole(91), whole(7)), None);
        assert_eq!(place([(47, 0), (0, 0), (0, 0)], whole(7)), None);
        assert_eq!(place(whole(0), whole(0)), None);
        let named = |maker: &str, model: &str| {
            Exif::of_block(&block(&[
                (Tag::Make, ascii(maker)),
                (Tag::Model, ascii(model)),
            ]))
            .camera
        };
        assert_eq!(
            named("NIKON CORPORATION", "NIKON D90").unwrap(),
            "NIKON D90"
        );
        assert_eq!(named("Apple", "iPhone 15").unwrap(), "Apple iPhone 15");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..30),
                              cut in any::<prop::sample::Index>(), noise in proptest::collection::vec(any::<u8>(), 0..400)) {
            for mut file in [jpeg(&photograph()), tiff(&fields())] {
                for (at, value) in &damage {
                    let at = at.index(file.len());
                    file[at] = *value;
                }
                let _ = Exif::of_file(&file);
                let _ = Exif::of_file(&file[..cut.index(file.len())]);
            }
            for start in [&b"\xff\xd8\xff"[..], b"\0\0\0\x0cJXL \r\n\x87\n", b"II*\0\x08\0\0\0", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"\xff\xd8\xff\xe1\x01\x00Exif\0\0II*\0\x08\0\0\0"] {
                let _ = Exif::of_file(&[start, &noise].concat());
            }
        }
    }
}
