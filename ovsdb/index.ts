export * from './columns.js';
export * from './database.js';
export * from './errors.js';
export * from './lock.js';
export * from './operations.js';
