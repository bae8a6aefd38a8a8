//! Damaged and malicious files: each is an error, none a panic, and none makes the program allocate
//! beyond the limit.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;

use lookalike_images::{DecodeOptions, decode};

/// Counts what this thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: every call goes to the system's allocator as it came; counting beside it neither
// allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as this function's caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as this function's caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as this function's caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the decoders may take for tables and the like beside the limit; a TIFF's tags are read
/// before any limit can be told to its decoder, which has one of its own.
fn slack(bytes: &[u8]) -> isize {
    match bytes {
        // A JPEG XL's headers are read by a decoder that counts its pixels only.
        [b'I', b'I', ..] | [b'M', b'M', ..] | [0xff, 0x0a, ..] => 32 << 20,
        _ => 1 << 20,
    }
}

fn picture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/pictures");
    std::fs::read(folder.join(name)).unwrap()
}

/// One of each decoder's kinds.
const KINDS: [&str; 14] = [
    "420.jpg",
    "progressive.jpg",
    "restarts.jpg",
    "cmyk.jpg",
    "rgba.png",
    "interlaced.png",
    "lossy.webp",
    "lossless-alpha.webp",
    "offset.gif",
    "palette.bmp",
    "rgb-tiff_lzw.tif",
    "palette.tif",
    "rgb.jxl",
    "lossy.jxl",
];

/// Decodes under the default limits, or less memory, and checks how much was held. Gives the error,
/// if there is one.
fn attempt(name: &str, bytes: &[u8]) -> Option<String> {
    let mut answer = None;
    for (target, max_memory) in [(None, 1 << 30), (Some((5, 5)), 1 << 30), (None, 1 << 16)] {
        let options = DecodeOptions {
            target,
            max_memory,
            ..DecodeOptions::default()
        };
        PEAK.set(HELD.get());
        let before = HELD.get();
        let outcome = decode(bytes, &options);
        let most = PEAK.get() - before;
        assert!(
            most <= max_memory as isize + slack(bytes),
            "{name}: {most} bytes of {max_memory}"
        );
        if let Ok(decoded) = &outcome {
            let pixels = &decoded.pixels;
            let values = pixels.width() * pixels.height() * pixels.channels();
            assert_eq!(pixels.data().len(), values);
        }
        let error = outcome.err().map(|error| error.to_string());
        assert!(
            error.as_ref().is_none_or(|error| error.len() > 20),
            "{name}: {error:?}"
        );
        if target.is_none() && max_memory > 1 << 20 {
            answer = error;
        }
    }
    answer
}

fn refused(name: &str, bytes: &[u8]) -> String {
    attempt(name, bytes).unwrap_or_else(|| panic!("{name} was accepted"))
}

#[test]
fn truncated_files_are_refused() {
    let mut count = 0;
    for name in KINDS {
        let bytes = picture(name);
        // The last marker, chunk or padding may be missing.
        let needed = match name {
            _ if name.ends_with(".png") => bytes.len() - 13,
            _ if name.ends_with(".gif") => bytes.len() - 8,
            // Tags and palettes stand last in some.
            _ if name.ends_with(".tif") => bytes.len() * 3 / 4,
            _ => bytes.len() - 4,
        };
        for part in 0..12 {
            let length = needed * part / 11;
            refused(&format!("{name}, {length} bytes"), &bytes[..length]);
            count += 1;
        }
    }
    assert!(count >= 100);
}

#[test]
fn flipped_bits_do_no_harm() {
    for name in KINDS {
        let bytes = picture(name);
        for at in 0..bytes.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= mask;
                // Pixels may change; nothing else may happen.
                attempt(&format!("{name}, byte {at} ^ {mask}"), &bytes);
            }
        }
    }
}

#[test]
fn foreign_bytes_are_refused() {
    let zeros = vec![0; 5000];
    for (name, bytes) in [
        ("nothing", &b""[..]),
        ("one byte", b"\xff"),
        ("zeros", &zeros),
        ("text", b"This is a picture, honestly."),
        ("a page", b"<!DOCTYPE html><html><body>404</body></html>"),
        ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3"),
        ("zip", b"PK\x03\x04\x14\0\0\0\0\0\0\0"),
        ("elf", b"\x7fELF\x02\x01\x01\0\0\0\0\0"),
        ("riff", b"RIFF\x24\0\0\0WAVEfmt "),
    ] {
        let error = refused(name, bytes);
        assert!(error.contains("JPEG, PNG, WebP"), "{name}: {error}");
    }
    for (name, bytes) in [
        ("AVIF", &b"\0\0\0\x1cftypavif\0\0\0\0mif1"[..]),
        ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        ("HEIC", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"),
    ] {
        let error = refused(name, bytes);
        assert!(error.contains(name) && error.contains("convert"), "{error}");
    }
    for start in [
        &b"\xff\xd8\xff"[..],
        b"\xff\xd8\xff\xd9",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"II*\0",
        b"MM\0*",
        b"II+\0",
        b"\xff\x0a",
        b"\0\0\0\x0cJXL \r\n\x87\n",
        b"RIFF\x24\0\0\0WEBP",
    ] {
        let name = format!("{start:?} alone");
        refused(&name, start);
        refused(&name, &[start, &zeros].concat());
        refused(&name, &[start, &[0xff; 3000]].concat());
    }
}

/// `bytes` with those at `at` replaced.
fn patched(bytes: &[u8], at: usize, by: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + by.len()].copy_from_slice(by);
    bytes
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes
        .windows(what.len())
        .position(|part| part == what)
        .expect("it is there")
}

#[test]
fn huge_promises_are_refused_before_there_is_room_for_them() {
    let jpeg = picture("420.jpg");
    let frame = find(&jpeg, b"\xff\xc0") + 5;
    let progressive = picture("progressive.jpg");
    let late = find(&progressive, b"\xff\xc2") + 5;
    let png = |width: u32, height: u32| {
        let mut bytes = picture("rgba.png");
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        bytes
    };
    let bmp = |width: i32, height: i32| {
        let bytes = patched(&picture("rgb.bmp"), 18, &width.to_le_bytes());
        patched(&bytes, 22, &height.to_le_bytes())
    };
    let gif = picture("palette.gif");
    let webp = picture("lossless.webp");
    let tiff = picture("rgb-tiff_lzw.tif");
    let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
    let tag = |tag: u16| {
        (0..)
            .map(|entry| directory + 2 + 12 * entry)
            .find(|&at| tiff[at..].starts_with(&tag.to_le_bytes()))
            .unwrap()
    };
    for (name, bytes) in [
        ("jpeg", patched(&jpeg, frame, &[0xff, 0xdc, 0xff, 0xdc])),
        (
            "jpeg below the limit",
            patched(&jpeg, frame, &[0x2e, 0xe0, 0x2e, 0xe0]),
        ),
        ("jpeg of no rows", patched(&jpeg, frame, &[0, 0, 0, 22])),
        (
            "progressive",
            patched(&progressive, late, &[0xff, 0xdc, 0xff, 0xdc]),
        ),
        (
            "progressive below the limit",
            patched(&progressive, late, &[0x2e, 0xe0, 0x2e, 0xe0]),
        ),
        ("png", png(60_000, 60_000)),
        ("png below the limit", png(11_000, 11_000)),
        ("png of 2^31", png(0x7fff_ffff, 0x7fff_ffff)),
        ("png of nothing", png(0, 0)),
        ("bmp", bmp(60_000, 60_000)),
        ("bmp below the limit", bmp(11_000, 11_000)),
        ("bmp upside down", bmp(60_000, i32::MIN)),
        ("bmp of negative width", bmp(-5, 5)),
        ("gif", patched(&gif, 6, &[0xff; 4])),
        // 14 bits each of width and height less one.
        ("webp", patched(&webp, 21, &[0xff, 0xff, 0xff, 0x0f])),
        ("tiff", patched(&tiff, tag(256) + 8, &[0xff; 4])),
        ("tiff, rows", patched(&tiff, tag(257) + 8, &[0xff; 4])),
        (
            "tiff, directory",
            patched(&tiff, 4, &[0xf0, 0xff, 0xff, 0xff]),
        ),
        (
            "tiff, directory in itself",
            patched(&tiff, 4, &[0, 0, 0, 0]),
        ),
    ] {
        refused(name, &bytes);
    }
}

#[test]
fn bombs_are_refused() {
    // Rows without end, packed a thousandfold.
    let packed = {
        use std::io::Write;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 40 << 20]).unwrap();
        encoder.finish().unwrap()
    };
    let chunk = |name: &[u8], body: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(name);
        crc.update(body);
        let length = (body.len() as u32).to_be_bytes();
        [&length[..], name, body, &crc.sum().to_be_bytes()].concat()
    };
    let header = |width: u32, height: u32| {
        let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
        [
            &b"\x89PNG\r\n\x1a\n"[..],
            &chunk(b"IHDR", &[&sides[..], &[8, 2, 0, 0, 0]].concat()),
        ]
        .concat()
    };
    let bomb = [
        header(100_000, 100_000),
        chunk(b"IDAT", &packed),
        chunk(b"IEND", b""),
    ]
    .concat();
    refused("png of 10^10 pixels", &bomb);
    let text = [&b"a\0\0"[..], &packed].concat();
    let small = picture("rgb.png");
    let texts = [
        &small[..33],
        &chunk(b"zTXt", &text),
        &chunk(b"iCCP", &text),
        &small[33..],
    ]
    .concat();
    // The text is not needed, so the picture may be given; `attempt` checks what is held meanwhile.
    attempt("png with much text", &texts);
    PEAK.set(HELD.get());
    let before = HELD.get();
    let _ = decode(&texts, &DecodeOptions::default());
    let most = PEAK.get() - before;
    assert!(most < 48 << 20, "{most} bytes for texts and profiles");

    // Many scans, each of which costs a pass over all blocks.
    let jpeg = picture("progressive-grey.jpg");
    let scan = find(&jpeg, b"\xff\xda");
    let length = find(&jpeg[scan + 2..], b"\xff\xda").min(find(&jpeg[scan + 2..], b"\xff\xc4")) + 2;
    let again = jpeg[scan..scan + length].repeat(200);
    let error = refused(
        "many scans",
        &[&jpeg[..scan + length], &again, &jpeg[scan + length..]].concat(),
    );
    assert!(error.contains("scans"), "{error}");
    // The data of a sequential picture twice, and two frames in one file.
    let jpeg = picture("grey.jpg");
    let (frame, scan) = (find(&jpeg, b"\xff\xc0"), find(&jpeg, b"\xff\xda"));
    let end = jpeg.len() - 2;
    refused("scan twice", &[&jpeg[..end], &jpeg[scan..]].concat());
    refused(
        "frame twice",
        &[&jpeg[..scan], &jpeg[frame..frame + 13], &jpeg[scan..]].concat(),
    );
    refused(
        "no tables",
        &[&jpeg[..2], &jpeg[frame..frame + 13], &jpeg[scan..]].concat(),
    );

    // Pages that follow themselves: read as one or refused, but read once.
    let tiff = picture("pages.tif");
    let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
    let entries = usize::from(u16::from_le_bytes([tiff[directory], tiff[directory + 1]]));
    let next = directory + 2 + 12 * entries;
    let circle = patched(&tiff, next, &(directory as u32).to_le_bytes());
    attempt("tiff in a circle", &circle);
}
