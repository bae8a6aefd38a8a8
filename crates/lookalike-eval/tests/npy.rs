//! `.npy` files: their exact bytes, both ways, and hostile ones.

use std::io::Cursor;

use lookalike_eval::npy::{Array, NpyError, Writer, read, write};
use proptest::prelude::*;

fn written(data: &[f32], columns: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, data, columns).unwrap();
    bytes
}

fn with_header(header: &str, values: usize) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; values]);
    bytes
}

#[test]
fn the_bytes_are_those_of_numpy() {
    let bytes = written(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3);
    let mut expected = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    expected.extend(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
    expected.resize(127, b' ');
    expected.push(b'\n');
    (1..=6).for_each(|value| expected.extend((value as f32).to_le_bytes()));
    assert_eq!(bytes, expected);
}

#[test]
fn row_by_row_the_bytes_are_the_same() {
    let data: Vec<f32> = (0..3000).map(|i| i as f32).collect();
    for rows in [0, 1, 9, 1000] {
        let data = &data[..rows * 3];
        let mut writer = Writer::new(Cursor::new(Vec::new()), 3).unwrap();
        for rows in data.chunks(6) {
            writer.push(rows).unwrap();
        }
        assert_eq!(writer.finish().unwrap().into_inner(), written(data, 3));
    }
    let mut writer = Writer::new(Cursor::new(Vec::new()), 3).unwrap();
    assert!(writer.push(&data[..4]).is_err());
    assert!(Writer::<f32, _>::new(Cursor::new(Vec::new()), 0).is_err());
}

#[test]
fn other_shapes_and_types_are_told_apart() {
    let one = with_header(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }\n",
        16,
    );
    let column = Array {
        rows: 2,
        columns: 1,
        data: vec![0i64, 0],
    };
    assert_eq!(read::<i64>(&one[..]).unwrap(), column);
    let message = read::<f32>(&one[..]).unwrap_err().to_string();
    assert!(
        message.contains("<i8") && message.contains("<f4"),
        "{message}"
    );
    assert!(matches!(
        write(Vec::new(), &[1i64, 2, 3], 2),
        Err(NpyError::Ragged {
            values: 3,
            columns: 2
        })
    ));
    assert!(write(Vec::new(), &[0.0f32; 0], 0).is_err());
}

#[test]
fn hostile_headers_are_refused() {
    let header = |order: &str, shape: &str| {
        format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': {shape}, }}")
    };
    for (order, shape) in [
        ("True", "(1, 1)"),
        ("False", "(99999999999, 9)"),
        ("False", "(18446744073709551615, 18446744073709551615)"),
        ("False", "(4611686018427387904, 1)"),
        ("False", "(1, 1, 1)"),
        ("False", "()"),
        ("False", "(-1, 1)"),
        ("False", "(1, 1"),
        ("False", "(2, 2)"),
        ("False", "(0, 7)"),
    ] {
        let bytes = with_header(&header(order, shape), 4);
        let error = read::<f32>(&bytes[..]).unwrap_err();
        assert!(
            matches!(error, NpyError::Format { .. }),
            "{order} {shape}: {error}"
        );
    }
    assert!(read::<f32>(&with_header("{}", 4)[..]).is_err());
    assert!(read::<f32>(&b"PK\x03\x04 and so on"[..]).is_err());
}

proptest! {
    #[test]
    fn arrays_survive(rows in 0usize..9, columns in 1usize..9, values: [f32; 64]) {
        let data: Vec<f32> = values.into_iter().cycle().take(rows * columns).collect();
        let bytes = written(&data, columns);
        prop_assert_eq!(bytes.len() % 64, rows * columns * 4 % 64);
        let array = read::<f32>(&bytes[..]).unwrap();
        prop_assert_eq!((array.rows, array.columns), (rows, columns));
        let bits = |data: &[f32]| data.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&array.data), bits(&data));
        let integers: Vec<i64> = data.iter().map(|value| i64::from(value.to_bits())).collect();
        let mut bytes = Vec::new();
        write(&mut bytes, &integers, columns).unwrap();
        prop_assert_eq!(read::<i64>(&bytes[..]).unwrap().data, integers);
    }

    #[test]
    fn any_cut_or_changed_byte_is_an_error_or_an_array(at in 0usize..151, to: u8) {
        let mut bytes = written(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3);
        prop_assert!(read::<f32>(&bytes[..at]).is_err());
        bytes[at] = to;
        if let Ok(array) = read::<f32>(&bytes[..]) {
            prop_assert_eq!(array.data.len(), 6);
        }
    }
}
