// The package is CommonJS with a `default` inside, which bundlers hand to .mjs files unopened.
import scrollbars from './node_modules/react-custom-scrollbars-2/lib/index.js';

export const { Scrollbars } = scrollbars;
export default Scrollbars;
