/* What edges ask of central on the fleet port: lookups, and with them the settings that say what names mean. */
#ifndef ENTREPOT_FLEET_FLEET_PART_H
#define ENTREPOT_FLEET_FLEET_PART_H

#include "common/node/part.h"

extern const struct part part_fleet;

#endif
