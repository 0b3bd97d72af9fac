import jupyter from '@jupyter/eslint-plugin';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  {
    ignores: [
      '.aios/**',
      '.venv/**',
      '.yarn/**',
      'build/**',
      'coverage/**',
      'dist/**',
      'labextension/**',
      'lib/**',
      'node_modules/**',
      'src/wire.ts'
    ]
  },
  {
    files: ['src/**/*.{ts,tsx}'],
    extends: [...tseslint.configs.recommended],
    languageOptions: {
      parserOptions: { project: './tsconfig.test.json', tsconfigRootDir: import.meta.dirname }
    },
    rules: {
      '@typescript-eslint/no-floating-promises': ['error', { ignoreVoid: true }],
      '@typescript-eslint/no-namespace': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { args: 'none' }],
      curly: ['error', 'all'],
      eqeqeq: 'error',
      'prefer-arrow-callback': 'error'
    }
  },
  { plugins: { jupyter } },
  ...jupyter.configs.recommended,
  {
    files: ['src/index.ts'],
    rules: {
      // The outer shells, which activation makes at once; what they show is loaded when first drawn.
      'jupyter/prefer-lazy-imports': [
        'warn',
        {
          ignoreImports: [
            './actions/register',
            './model',
            './panel/panel',
            './renderer/RunOutput',
            './status/StatusItem'
          ]
        }
      ]
    }
  },
  prettier
);
