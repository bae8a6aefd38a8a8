//! Colour profiles (ICC): pictures that are not in sRGB are brought to it.

use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

use crate::pixels::Pixels;

/// Profiles that are longer are not looked at: a camera's has some kilobytes, and a table is a
/// megabyte or two.
const MAX_BYTES: usize = 4 << 20;

/// A picture in sRGB. One without a profile, or with one that is damaged or of other channels than
/// it has, is taken to be in sRGB already.
pub(super) fn to_srgb(pixels: Pixels, profile: Option<&[u8]>) -> Pixels {
    let transformed = profile
        .filter(|profile| profile.len() <= MAX_BYTES)
        .and_then(|profile| transformed(&pixels, profile));
    transformed.unwrap_or(pixels)
}

fn transformed(pixels: &Pixels, profile: &[u8]) -> Option<Pixels> {
    let profile = ColorProfile::new_from_slice(profile).ok()?;
    // Of a grey picture only the curve could differ, which in few profiles is far from sRGB's.
    if profile.color_space != DataColorSpace::Rgb || pixels.channels() != 3 {
        return None;
    }
    let (srgb, options) = (ColorProfile::new_srgb(), TransformOptions::default());
    let transform = profile
        .create_transform_8bit(Layout::Rgb, &srgb, Layout::Rgb, options)
        .ok()?;
    let row = pixels.width() * pixels.channels();
    let mut data = vec![0; pixels.data().len()];
    for (from, to) in pixels
        .data()
        .chunks_exact(row)
        .zip(data.chunks_exact_mut(row))
    {
        transform.transform(from, to).ok()?;
    }
    Some(Pixels::trusted(
        pixels.width(),
        pixels.height(),
        pixels.channels(),
        data,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(profile: &ColorProfile, colour: [u8; 3]) -> Vec<u8> {
        let pixels = Pixels::new(2, 1, 3, [colour, colour].concat()).unwrap();
        to_srgb(pixels, Some(&profile.encode().unwrap())).into_data()
    }

    #[test]
    fn colours_of_wide_profiles_come_to_srgb() {
        // Pure green of Display P3 and of Adobe RGB lies beyond sRGB, and grey is grey in each.
        for wide in [
            ColorProfile::new_display_p3(),
            ColorProfile::new_adobe_rgb(),
        ] {
            let muted = shown(&wide, [100, 160, 90]);
            assert!(muted[0] < 95 && muted[1] >= 158, "{muted:?}");
            let grey = shown(&wide, [128; 3]);
            assert!(
                grey.iter().all(|value| value.abs_diff(128) <= 2),
                "{grey:?}"
            );
        }
        let same = shown(&ColorProfile::new_srgb(), [100, 160, 90]);
        for (value, was) in same.iter().zip([100, 160, 90].iter().cycle()) {
            assert!(value.abs_diff(*was) <= 1, "{same:?}");
        }
    }

    #[test]
    fn profiles_that_cannot_be_used_change_nothing() {
        let pixels = Pixels::new(1, 1, 3, vec![1, 2, 3]).unwrap();
        let mut cut = ColorProfile::new_display_p3().encode().unwrap();
        cut.truncate(100);
        for profile in [&b""[..], b"no profile", &cut, &vec![7; 5 << 20]] {
            assert_eq!(to_srgb(pixels.clone(), Some(profile)), pixels);
        }
        let grey = Pixels::new(1, 1, 1, vec![9]).unwrap();
        let colour = ColorProfile::new_display_p3().encode().unwrap();
        assert_eq!(to_srgb(grey.clone(), Some(&colour)), grey);
    }
}
