"""First names for the people of stories, and which of them a text has.

Place in the flow: `author` names people; in plain words it takes names that the seeds have.

Example::

    find_names("Ann has 3 pens. Tom has 4.")        # ["Ann", "Tom"]
"""

from __future__ import annotations

import re

FEMALE = (
    "Abby Ada Alice Amanda Amber Amelia Amy Ana Andrea Angela Anita Ann Anna Annie Audrey Ava Becca Bella Beth Betty "
    "Brenda Brooke Camila Cara Carla Carmen Carol Carrie Cathy Celine Chloe Christina Cindy Claire Clara Cora Daisy Dana "
    "Debbie Diana Diane Donna Dora Elena Elise Ella Ellen Emily Emma Erica Erin Esther Eva Eve Fatima Fiona Flora Gina "
    "Gloria Grace Greta Hana Hanna Hannah Hazel Heather Heidi Helen Holly Ida Irene Iris Isabel Ivy Jackie Jane Janet "
    "Jenna Jennifer Jenny Jessica Jill Joan Joanna Josie Joy Joyce Judy Julia Julie June Kara Karen Kate Katie Kayla Kelly "
    "Lara Laura Lena Leila Lila Lily Linda Lisa Lola Lucia Lucy Luna Maggie Mara Margaret Maria Marie Martha Mary Maya "
    "Megan Melissa Mia Michelle Mila Molly Monica Nadia Nancy Naomi Natalie Nina Nora Olga Olivia Paige Pam Patricia Paula "
    "Penny Rachel Rebecca Rita Rosa Rose Ruby Ruth Sally Samantha Sandra Sara Sarah Selena Sofia Sonia Sophia Sophie "
    "Stella Susan Sylvia Tanya Tara Teresa Tina Tracy Una Valerie Vanessa Vera Victoria Violet Wanda Wendy Yara Zoe"
).split()
MALE = (
    "Aaron Adam Alan Albert Alfred Andrew Andy Anthony Antonio Arnold Arthur Ben Benjamin Bill Bob Bobby Boris Brad Brandon "
    "Brian Bruce Bryan Calvin Carl Carlos Cecil Charles Charlie Chris Colin Craig Dan Daniel Dave David Dean Dennis Derek "
    "Diego Don Donald Doug Dylan Eddie Edgar Eduardo Edward Elias Eli Eric Ethan Evan Felix Finn Frank Fred Gabriel Gary "
    "Gavin George Gerald Gilbert Greg Hank Harold Harry Harvey Hector Henry Howard Hugo Ian Igor Isaac Ivan Jack Jacob "
    "Jake James Jared Jason Jeff Jeremy Jerry Jim Jimmy Joe Joel John Johnny Jonah Jonathan Jorge Jose Joseph Josh Joshua "
    "Juan Justin Karl Keith Ken Kenneth Kenny Kevin Kurt Kyle Larry Leo Leon Liam Logan Louis Lucas Luis Luke Marcus Mario "
    "Mark Martin Marvin Matt Matthew Max Michael Miguel Mike Milo Nathan Neil Nick Noah Oliver Omar Oscar Otto Owen Pablo "
    "Patrick Paul Pedro Pete Peter Phil Philip Rafael Ralph Ray Raymond Ricardo Richard Rick Rob Robert Roger Ron Ronald "
    "Ryan Samuel Saul Scott Sean Seth Simon Stan Stephen Steve Steven Stuart Ted Terrence Thomas Tim Timothy Toby Todd Tom "
    "Tommy Tony Tyler Victor Vincent Walter Wayne Will William Xavier Zach"
).split()
EITHER = "Alex Casey Jamie Jordan Kim Max Morgan Pat Robin Sam Taylor Terry".split()


def find_names(text: str) -> list[str]:
    """The known first names of the text, in order."""
    known = {*FEMALE, *MALE, *EITHER}
    return [word for word in dict.fromkeys(re.findall(r"\b[A-Z][a-z]+\b", text)) if word in known]
