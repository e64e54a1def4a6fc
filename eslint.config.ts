import eslint from '@eslint/js';
import { type Config, defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Forbids imports of the named top-level folders: the arrows of docs/architecture.md. */
function mayNotImport(...folders: string[]): NonNullable<Config['rules']> {
  return {
    'no-restricted-imports': [
      'error',
      { patterns: folders.map((folder) => ({ group: [`**/${folder}/*`, `**/${folder}/**`] })) },
    ],
  };
}

export default defineConfig(
  { ignores: ['dist/', 'generated/', 'node_modules/', 'coverage/'] },
  eslint.configs.recommended,
  tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  // tsc knows what browsers have.
  { files: ['web/**'], rules: { 'no-undef': 'off' } },
  {
    // Parses what comes; a cast in JSDoc is not seen by the rules.
    files: ['web/api.js'],
    rules: {
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
  { files: ['common/**'], rules: mayNotImport('agent', 'cli', 'controller', 'inspect', 'ovsdb') },
  { files: ['inspect/**'], rules: mayNotImport('agent', 'cli', 'controller', 'ovsdb') },
  { files: ['ovsdb/**'], rules: mayNotImport('agent', 'cli', 'controller', 'inspect') },
  { files: ['controller/**'], rules: mayNotImport('agent', 'cli') },
  { files: ['agent/**'], rules: mayNotImport('cli', 'controller') },
  { files: ['cli/**'], rules: mayNotImport('agent', 'controller') },
);
