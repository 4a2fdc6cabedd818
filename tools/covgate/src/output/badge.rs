//! A badge: an SVG that needs no font and fetches nothing.

use crate::gate::Answer;

/// The width of a character in 11 px Verdana, about.
const CHARACTER: usize = 7;

pub(super) fn picture(answer: &Answer) -> String {
    let value = format!("{}%", answer.percent());
    let colour = if answer.pass() { "#2a7e3b" } else { "#c6371f" };
    let left = "coverage".len() * CHARACTER + 10;
    let right = value.len() * CHARACTER + 10;
    let width = left + right;
    let (left_middle, right_middle) = (left / 2, left + right / 2);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"20\" role=\"img\" aria-label=\"coverage: {value}\">\
         <title>coverage: {value}</title>\
         <clipPath id=\"r\"><rect width=\"{width}\" height=\"20\" rx=\"3\"/></clipPath>\
         <g clip-path=\"url(#r)\"><rect width=\"{left}\" height=\"20\" fill=\"#555\"/>\
         <rect x=\"{left}\" width=\"{right}\" height=\"20\" fill=\"{colour}\"/></g>\
         <g fill=\"#fff\" text-anchor=\"middle\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\">\
         <text x=\"{left_middle}\" y=\"14\">coverage</text><text x=\"{right_middle}\" y=\"14\">{value}</text></g></svg>\n"
    )
}
