/* Makes foreign text safe to show: a terminal that prints it executes no control sequence in it. Pure. Thread: any. */
#ifndef ENTREPOT_CORE_PRINTABLE_H
#define ENTREPOT_CORE_PRINTABLE_H

/* Replaces each control character of a text in UTF-8, in place, by '?', and tabs and line ends by ' '; returns s. Those
 * that only some terminals interpret count, too: U+0080 to U+009F, and the marks that turn the direction of writing. */
char *text_make_printable(char *s);

#endif
