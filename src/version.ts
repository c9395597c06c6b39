/** Kept equal to package.json by a test: reading the file at run time would cost a stat and break the bundle. */
export const version = '0.1.0'
