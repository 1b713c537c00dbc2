/* Finds the known word that a person most likely meant. Pure. Thread: any. */
#ifndef ENTREPOT_CONFIG_NEAREST_H
#define ENTREPOT_CONFIG_NEAREST_H

#include "common/core/base.h"

/* Edit distance (insert, delete, replace, swap of neighbours) of two words; words over 64 bytes are cut. */
unsigned edit_distance(const char *a, const char *b);
/* The index of the nearest of n words, or -1 if none is near enough. */
int nearest_word(const char *word, const char *const *words, size_t n);

#endif
