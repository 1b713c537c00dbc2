/* Keeps passwords out of logs, errors and answers. Pure. Thread: any. */
#ifndef ENTREPOT_CORE_HIDE_H
#define ENTREPOT_CORE_HIDE_H

/* Removes the user part of every URL in text, in place: "http://joe:pa55@host" becomes "http://host". A URL ends at a
 * space or a quote. Any '@' before that ends the user part, because a password may contain '/' or '#'. Of a URL that
 * was cut inside its password, everything after "://" is removed. */
void hide_users(char *text);

#endif
