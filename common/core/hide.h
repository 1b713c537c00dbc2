/* Keeping passwords out of what leaves: logs, errors, answers. Pure. Thread: any. */
#ifndef ENTREPOT_CORE_HIDE_H
#define ENTREPOT_CORE_HIDE_H

/* Takes the user part out of every URL in text, in place: "http://joe:pa55@host" becomes "http://host". A URL ends at a
 * space or a quote; a '@' anywhere in it counts, because a password may hold '/' or '#'. One that was cut in its
 * password loses all after "://". */
void hide_users(char *text);

#endif
