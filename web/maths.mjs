// Formulas. Its styles and fonts are beside it; they are loaded with the first formula.
import katex from "katex";

export const render = katex.render;
