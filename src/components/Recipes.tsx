import React from 'react';
import type { HelpProps, Recipe } from '../sources/source';
import type { BaseQuery } from '../types';

/** Queries to begin with, each of which runs when it is clicked. */
export function Recipes<Q extends BaseQuery>({
  query,
  text,
  onClickExample,
  recipes,
}: HelpProps<Q> & { recipes: Array<Recipe<Q>> }) {
  return (
    <>
      {recipes.map((recipe) => (
        <div key={recipe.title} className="cheat-sheet-item">
          <div className="cheat-sheet-item__title">{recipe.title}</div>
          <button
            type="button"
            className="cheat-sheet-item__example"
            onClick={() => {
              onClickExample({ ...query, ...recipe.query });
            }}
          >
            <code>{text({ ...query, ...recipe.query })}</code>
          </button>
          <div className="cheat-sheet-item__label">{recipe.why}</div>
        </div>
      ))}
    </>
  );
}
