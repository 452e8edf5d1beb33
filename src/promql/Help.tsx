import React from 'react';
import { Recipes } from '../components/Recipes';
import type { HelpProps } from '../sources/source';
import type { PromQLQuery } from './query';
import { recipes } from './recipes';

export function Help(props: HelpProps<PromQLQuery>) {
  return <Recipes {...props} recipes={recipes} />;
}
