// Applies the stored theme before the first paint.

import { applyTheme, storedTheme } from "./theme-storage";

applyTheme(storedTheme());
