/** The preview page begins here: the whole of it, or with `?bare` the picture alone. */

import { startBare } from './bare.js';
import { Meter } from './meter.js';
import { startStudio } from './studio.js';

const query = new URLSearchParams(window.location.search);
const meter = new Meter();
window.warpaint = meter;

if (query.has('bare')) startBare(meter, query);
else startStudio(meter, query);
